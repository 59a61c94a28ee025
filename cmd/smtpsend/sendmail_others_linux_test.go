package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A user to whom the queue is closed is told where it is written what to do; and that, done, lets him send.
func TestSendmailOfOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("to be another user one must be root")
	}
	d := newDesk(t)
	for _, path := range []string{d.dir, filepath.Dir(d.dir), d.office, d.bin} {
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	queue := filepath.Join(d.office, "queue")
	if err := os.Mkdir(queue, 0o700); err != nil {
		t.Fatal(err)
	}
	send := func() (string, int) {
		cmd := exec.Command(d.sendmail, "bob", "you@elsewhere.example")
		cmd.Dir, cmd.Env, cmd.Stdin = "/", append(d.env, "TMPDIR="+os.TempDir()), strings.NewReader("Subject: from a user\n\nhello\n")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	if said, exit := send(); exit != 78 || !strings.Contains(said, `permission denied; see "Who may send" in sendmail(8)`) {
		t.Errorf("without a server: exit %d, %s", exit, said)
	}

	sendmail := filepath.Join(d.bin, "smtpsend")
	if err := os.Symlink(d.sendmail, sendmail); err != nil {
		t.Fatal(err)
	}
	address := daemon(t, d.office, "--relay-from", "127.0.0.1", "--", sendmail, "--queue", queue)
	settings := "MAIL_SUBMIT=" + sendmail + " --server smtp+notls://" + address + "\nMAIL_DOMAIN=example.org\n"
	if err := os.WriteFile(filepath.Join(d.office, settingsFile), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, exit := send(); exit != 0 {
		t.Fatalf("with one: exit %d, %s", exit, said)
	}
	entry, text := d.queued(t)
	if got := entry.Envelope.Sender.String(); !strings.HasSuffix(got, "@example.org") {
		t.Errorf("the sender is %s", got)
	}
	if len(entry.Recipients) != 2 || !strings.Contains(text, "Subject: from a user\n") {
		t.Errorf("in the queue for %v:\n%s", entry.Recipients, text)
	}
}
