package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// cronScript gives cron a world of its own in which ours is the system's sendmail, and one job, which runs at once.
const cronScript = `set -e
mount --make-rprivate /
for d in /srv /run /etc/cron.d /var/spool/cron; do mount -t tmpfs none $d; done
mkdir -p /srv/mail /var/spool/cron/crontabs
mount --bind "$OFFICE" /srv/mail
mount --bind "$SENDMAIL" /usr/sbin/sendmail
printf '@reboot echo hello; printf "one\\rtwo\\n"\n' >/var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
exec cron -f
`

// The real cron mails the output of a job. It sets no variable, so the office is the default one and says the rest.
func TestCron(t *testing.T) {
	mailtest.Peer(t, "cron")
	unshare := mailtest.Peer(t, "unshare")
	if _, err := os.Stat("/usr/sbin/sendmail"); err != nil || os.Getuid() != 0 {
		t.Skip("to put ours in the place of /usr/sbin/sendmail there must be one, and we must be root")
	}
	if out, err := exec.Command(unshare, "-m", "mount", "--make-rprivate", "/").CombinedOutput(); err != nil {
		t.Skipf("no mount name spaces here: %v: %s", err, out)
	}
	d := newDesk(t)
	ready := filepath.Join(d.dir, "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	arrived, err := os.OpenFile(ready, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer arrived.Close()
	programs := mailtest.Build(t, "smtpsend", "deliver")
	take := filepath.Join(d.dir, "take")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(take, "#!/bin/sh\n"+programs+"/deliver --office /srv/mail\ns=$?\necho \"$s $SENDER\" >"+ready+"\nexit $s\n")
	write(filepath.Join(d.office, settingsFile), "MAIL_SUBMIT="+take+"\n")

	var said strings.Builder
	cron := exec.Command(unshare, "-m", "sh", "-c", cronScript)
	cron.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "OFFICE=" + d.office,
		"SENDMAIL=" + filepath.Join(programs, "smtpsend")}
	cron.Stdout, cron.Stderr = &said, &said
	if err := cron.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cron.Process.Kill(); cron.Wait() }()
	arrived.SetReadDeadline(time.Now().Add(30 * time.Second))
	line := make([]byte, 200)
	n, err := arrived.Read(line)
	if got := string(line[:n]); err != nil || got != "0 root@example.org\n" {
		t.Fatalf("deliver exited %q, %v; cron said %s", got, err, said.String())
	}
	text := d.mailbox(t)
	for _, want := range []string{"From: root@example.org (Cron Daemon)\n", "To: root@example.org\n", "Subject: Cron <root@",
		"\nhello\none\ntwo\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
