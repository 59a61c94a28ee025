package main

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// newOffice makes an office with alice@example.org, password "secret".
func newOffice(t *testing.T) (dir, program string) {
	t.Helper()
	dir = t.TempDir()
	program = filepath.Join(mailtest.Build(t, "imapd"), "imapd")
	prepareOffice(t, dir, program)
	return dir, program
}

// logIn is a session that fails once, so that something goes to the log, and then succeeds.
const logIn = `
<- * OK [CAPABILITY IMAP4rev1 ...
-> a LOGIN alice@example.org wrong
<- a NO [AUTHENTICATIONFAILED] user or password is wrong
-> b LOGIN alice@example.org secret
<- b OK [CAPABILITY ...
-> c STATUS INBOX (MESSAGES)
<- * STATUS INBOX (MESSAGES 0)
<- c OK STATUS completed
-> d LOGOUT
<- * BYE logging out
<- d OK LOGOUT completed
<- EOF
`

// Inetd makes the connection standard error too. What is said there must not reach the client.
func TestInetd(t *testing.T) {
	office, program := newOffice(t)
	client, f := mailtest.TCPFile(t)
	defer client.Close()
	cmd := exec.Command(program, "-v", "--office", office)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
	err := cmd.Start()
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	mailtest.Dialog(t, client, logIn)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// launch starts a program that starts imapd and returns the first line that it writes to the pipe.
func launch(t *testing.T, pipe func(*exec.Cmd) (io.ReadCloser, error), program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	out, err := pipe(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return strings.TrimSpace(line)
}

func TestTcpserver(t *testing.T) {
	tcpserver := mailtest.Peer(t, "tcpserver")
	office, program := newOffice(t)
	port := launch(t, (*exec.Cmd).StdoutPipe, tcpserver, "-1", "-HRl0", "127.0.0.1", "0", program, "--office", office)
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mailtest.Dialog(t, c, logIn)
}

func TestSystemdSocket(t *testing.T) {
	activate := mailtest.Peer(t, "systemd-socket-activate")
	office, program := newOffice(t)
	for _, how := range [][]string{{"--inetd", "-a"}, {"-a"}, nil} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			args := append(how[:len(how):len(how)], "-l", path, program, "--office", office)
			launch(t, (*exec.Cmd).StderrPipe, activate, args...)
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			mailtest.Dialog(t, c, logIn)
		})
	}
}
