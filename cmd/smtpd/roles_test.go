package main

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/smtp"
)

func TestRole(t *testing.T) {
	tests := []struct {
		o       options
		name    string
		service smtp.Service
		wrapped bool
	}{
		{options{}, "", smtp.Transfer, false},
		{options{}, "smtp", smtp.Transfer, false},
		{options{}, "127.0.0.1:587", smtp.Transfer, false},
		{options{}, "submission", smtp.Submission, false},
		{options{}, "submissions", smtp.Submission, true},
		{options{}, "lmtp", smtp.LMTP, false},
		{options{submit: true}, "lmtp", smtp.Submission, false},
		{options{lmtp: true}, "submissions", smtp.LMTP, false},
		{options{tls: true}, "submission", smtp.Transfer, true},
		{options{tls: true, submit: true}, "", smtp.Submission, true},
	}
	for _, tt := range tests {
		if service, wrapped := tt.o.role(tt.name); service != tt.service || wrapped != tt.wrapped {
			t.Errorf("%+v %q: got %v, %v", tt.o, tt.name, service, wrapped)
		}
	}
}

// Sockets from systemd have their roles by their names.
func TestNamedSockets(t *testing.T) {
	bin, office := newOffice(t)
	var files []*os.File
	var addrs []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		l.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addrs = append(files, f), append(addrs, l.Addr().String())
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", bin, "--office", office, "--name", "mx.example.org")
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES=smtp:submission:lmtp")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("smtpd ended with %v", err)
		}
	}()
	for i, script := range []string{`
		<- 220 mx.example.org ESMTP
		-> HELO me
		<- 250 ...
		-> MAIL FROM:<>
		<- 250 ...`, `
		<- 220 mx.example.org ESMTP
		-> HELO me
		<- 250 ...
		-> MAIL FROM:<>
		<- 530 5.7.0 Authentication required`, `
		<- 220 mx.example.org LMTP
		-> HELO me
		<- 500 ...`} {
		c, err := net.Dial("tcp", addrs[i])
		if err != nil {
			t.Fatal(err)
		}
		mailtest.Dialog(t, c, script+"\n-> QUIT\n<- 221 ...\n<- EOF")
		c.Close()
	}
}

// Each recipient is delivered to, and answered, for itself.
func TestSwaksLMTP(t *testing.T) {
	mailtest.Peer(t, "swaks")
	bin, office := newOffice(t)
	port := listening(t, bin, office, "--lmtp")
	out, err := runPeer(t, "", "swaks", "--server", "127.0.0.1", "--port", port, "--protocol", "LMTP", "--helo", "client.example",
		"--from", "someone@example.com", "--to", "alice@example.org,nobody@example.org,bob@example.org", "--body", "hi\n")
	if strings.Count(out, "Ok: queued as") != 2 || !strings.Contains(out, "550 5.1.1 <nobody@example.org>") {
		t.Errorf("swaks: %v\n%s", err, out)
	}
	for _, user := range []string{"alice", "bob"} {
		if m := only(t, office, user); !strings.Contains(m, " with LMTP id ") || !strings.Contains(m, "\tfor <"+user+"@example.org>") {
			t.Errorf("%s got\n%s", user, m)
		}
	}
}
