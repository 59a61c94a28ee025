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

// world gives a program the machine with ours as the system's sendmail, and what else it needs.
const world = `set -e
mount --make-rprivate /
for d in /srv /run /etc/cron.d /var/spool/cron; do mount -t tmpfs none $d; done
mkdir -p /srv/mail /var/spool/cron/crontabs
mount --bind "$OFFICE" /srv/mail
mount --bind "$SENDMAIL" /usr/sbin/sendmail
`

// inhabitants call /usr/sbin/sendmail, and nothing in their environment says anything of mail.
var inhabitants = []struct {
	program, script string
	want            []string // each is in the letter
}{
	{"cron", `printf '@reboot echo hello; printf "one\\rtwo\\n"\n' >/var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
exec cron -f
`, []string{"From: root@example.org (Cron Daemon)\n", "To: root@example.org\n", "Subject: Cron <root@", "\nhello\none\ntwo\n"}},
	{"atd", `cd /var/spool/cron
mkdir atjobs atspool
touch atjobs/.SEQ
chown daemon:daemon atjobs atspool atjobs/.SEQ
chmod 1770 atjobs atspool
echo 'echo hello; echo $((6*7)) >&2' | LOGNAME=root at now
exec atd -f -l 1000
`, []string{"To: root@example.org\n", "Subject: Output from your job ", "\nhello\n42\n"}},
	{"logwatch", `exec logwatch --output mail --mailto root --service zz-disk_space --range today --detail high --logdir /run
`, []string{"To: root@example.org\n", "Subject: Logwatch for ", "\nFrom: ", "Disk Space Begin"}},
}

// Real programs mail what they have to say. They set no variable, so the office is the default one and says the rest.
func TestSystemSendmail(t *testing.T) {
	for _, in := range inhabitants {
		t.Run(in.program, func(t *testing.T) {
			mailtest.Peer(t, in.program)
			text := worldMail(t, in.script)
			for _, want := range in.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
		})
	}
}

// worldMail runs a script in a world of its own and returns the letter that root gets.
func worldMail(t *testing.T, script string) string {
	t.Helper()
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
	sh := exec.Command(unshare, "-m", "sh", "-c", world+script)
	sh.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "OFFICE=" + d.office,
		"SENDMAIL=" + filepath.Join(programs, "smtpsend")}
	sh.Stdout, sh.Stderr = &said, &said
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { sh.Process.Kill(); sh.Wait() }()
	arrived.SetReadDeadline(time.Now().Add(30 * time.Second))
	line := make([]byte, 200)
	n, err := arrived.Read(line)
	if got := string(line[:n]); err != nil || got != "0 root@example.org\n" {
		t.Fatalf("deliver exited %q, %v; it said %s", got, err, said.String())
	}
	return d.mailbox(t)
}
