package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/queue"
)

// A run that stays sends what comes at once, and ends well when it is told to.
func TestFollow(t *testing.T) {
	bin := mailtest.Build(t, "smtpsend")
	dir := t.TempDir()
	home := filepath.Join(dir, "office/example.org/alice")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(filepath.Join(bin, "smtpsend"), "--queue", "q", "run", "--follow", "--office", "office", "--zone", "/dev/null")
	run.Dir = dir
	log, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer run.Process.Kill()
	lines := bufio.NewScanner(log)
	for i := range 3 {
		put := exec.Command(filepath.Join(bin, "smtpsend"), "--queue", "q", "-f", "", "alice@example.org")
		put.Dir, put.Stdin = dir, strings.NewReader(fmt.Sprintf("Subject: %d\n\n", i))
		if out, err := put.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), "recipient delivered") {
			t.Fatalf("log %q", lines.Text())
		}
	}
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("log %q", lines.Text())
	}
	if err := run.Wait(); err != nil {
		t.Error(err)
	}
	if got, _ := filepath.Glob(home + "/Maildir/new/*"); len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
}

// The example as it stands: a user logs in, and his mail is signed, in the queue, and delivered by a run.
func TestExampleSubmission(t *testing.T) {
	bin := mailtest.Build(t, "smtpsend", "smtpd", "mailauth")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	dir := t.TempDir()
	office, key, secret := filepath.Join(dir, "office"), filepath.Join(dir, "key"), filepath.Join(dir, "secret")
	sh := func(line string) string {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-ec", line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		return string(out)
	}
	sh("mkdir -p office/example.org/alice office/example.org/bob; echo secret >secret; chmod 600 secret")
	sh("smtpd passwd --office office alice@example.org <secret; mailauth keygen -t ed25519 -d example.org -s mail -o key")
	address := activate(t, "../../examples/submission.sh", office, "example.org", "mail", key)
	said, exit := smtpsend(t, "From: alice@example.org\nSubject: hi\n\nbody\n", "--timeout", "20s", "--server",
		"smtp+tls://"+address, "--no-verify", "--user", "alice@example.org", "--password-file", secret, "-f", "alice@example.org", "bob@example.org")
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, said)
	}
	list := sh("smtpsend --queue office/queue list")
	if !strings.Contains(list, "\twaiting\t<alice@example.org>\tbob@example.org\t") {
		t.Errorf("the queue has %q", list)
	}
	sh("smtpsend --queue office/queue run --office office --zone /dev/null")
	got := sh("cat office/example.org/bob/Maildir/new/*")
	if !strings.Contains(got, "\nDKIM-Signature: v=1; ") || !strings.Contains(got, "\nSubject: hi\n") {
		t.Errorf("bob got %s", got)
	}
}

// BenchmarkList prints a queue of 100,000 entries; CI runs it with fewer.
func BenchmarkList(b *testing.B) {
	n := 100_000
	if testing.Short() {
		n = 1000
	}
	dir := b.TempDir()
	q, err := queue.Open(dir, queue.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	from := "s@example.net"
	e := new(envelope.Envelope)
	if err := e.FromArgs(&from, []string{"a@example.org"}); err != nil {
		b.Fatal(err)
	}
	m := message.Bytes([]byte("Subject: x\n\nbody\n"))
	for range n {
		if _, err := q.Put(m, e, time.Now(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	bin := mailtest.Build(b, "smtpsend")
	for b.Loop() {
		out, err := exec.Command(filepath.Join(bin, "smtpsend"), "--queue", dir, "list").Output()
		if got := strings.Count(string(out), "\n"); err != nil || got != n {
			b.Fatalf("%d lines, %v", got, err)
		}
	}
}
