package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// lmtpServer is our own server on a socket; what it has for mailboxes is in dir.
func lmtpServer(t *testing.T, bin, dir string, args ...string) (url string) {
	t.Helper()
	run, err := os.MkdirTemp("", "lmtp") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	socket := filepath.Join(run, "s")
	args = append([]string{"--lmtp", "--office", dir, "--listen", "unix:" + socket}, args...)
	cmd := exec.Command(filepath.Join(bin, "smtpd"), args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return "lmtp+unix://" + socket
		}
		if time.Now().After(end) {
			t.Fatal("the server does not listen")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// What an LMTP server says of each recipient becomes one status, and a mailbox that is full is told from one that is not there.
func TestLMTP(t *testing.T) {
	bin := mailtest.Build(t, "deliver", "smtpd")
	dir, box := newOffice(t)
	if err := os.Mkdir(filepath.Join(dir, "example.org", "bob"), 0o700); err != nil {
		t.Fatal(err)
	}
	program, env := comparing(t, t.TempDir()) // what the server does is not looked at
	url := lmtpServer(t, bin, dir, "--quota", "3C", "--over-quota", "refuse")
	for _, c := range []struct {
		name   string
		to     []string
		exit   int
		words  string
		copies int // of alice in the end
	}{
		{"one", []string{"alice@example.org"}, 0, "", 1},
		{"two", []string{"alice@example.org", "bob@example.org"}, 0, "", 2},
		{"one of two is unknown", []string{"alice@example.org", "carol@example.org"}, 100, "550 5.1.1 ", 3},
		{"full", []string{"alice@example.org", "bob@example.org"}, 100, "552 5.2.2 ", 3},
		{"nobody is there", []string{"carol@example.org"}, 100, "550 5.1.1 ", 3},
	} {
		cmd := exec.Command(program, append([]string{"--to", url, "-f", "bob@example.net"}, c.to...)...)
		cmd.Env, cmd.Stdin = env, strings.NewReader("Subject: hello\n\n.text\n")
		out, err := cmd.CombinedOutput()
		exit := 0
		if e := (*exec.ExitError)(nil); errors.As(err, &e) {
			exit = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if exit != c.exit || !strings.HasPrefix(string(out), c.words) || (exit == 0) != (len(out) == 0) {
			t.Errorf("%s: exit %d, %q", c.name, exit, out)
		}
		all := messages(t, box)
		if len(all) != c.copies {
			t.Fatalf("%s: alice has %d copies, want %d", c.name, len(all), c.copies)
		}
		if text := string(all[0]); !strings.HasPrefix(text, "Return-Path: <bob@example.net>\nDelivered-To: alice@example.org\n") ||
			!strings.HasSuffix(text, "\nSubject: hello\n\n.text\n") {
			t.Errorf("%s: alice has %q", c.name, text)
		}
	}
}
