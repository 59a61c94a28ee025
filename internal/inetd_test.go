package internal_test

import (
	"bytes"
	"io"
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

// newOffice is an office with a mailbox, a password and one letter in it.
func newOffice(t *testing.T, bin string) string {
	t.Helper()
	office := t.TempDir()
	if err := os.MkdirAll(filepath.Join(office, "example.org/alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, []byte("secret\n"), bin+"/popd", "--office", office, "passwd", "alice@example.org")
	run(t, []byte("Subject: first\n\nhello\n"), bin+"/deliver", "--office", office, "alice@example.org")
	return office
}

// sessions are what each server is asked under a supervisor; the peer is loopback, so a login in clear is let through.
var sessions = map[string]string{
	"smtpd": "<- 220 ...\n-> HELO me\n<- 250 ...\n-> MAIL FROM:<a@b.org>\n<- 250 2.1.0 Ok\n-> RCPT TO:<alice@example.org>\n<- 250 2.1.5 Ok\n" +
		"-> DATA\n<- 354 ...\n-> Subject: second\n->\n-> x\n-> .\n<- 250 2.0.0 Ok: queued as ...\n-> QUIT\n<- 221 ...\n<- EOF",
	"popd": "<- +OK...\n-> USER alice@example.org\n<- +OK...\n-> PASS secret\n<- +OK...\n-> LIST 1\n<~ ^\\+OK 1 \\d+\n-> QUIT\n<- +OK...\n<- EOF",
	"imapd": "<- * OK...\n-> a LOGIN alice@example.org secret\n<~ ^a OK\n-> b STATUS INBOX (MESSAGES)\n<- * STATUS INBOX (MESSAGES 1)\n<~ ^b OK\n" +
		"-> c LOGOUT\n<- * BYE...\n<~ ^c OK\n<- EOF",
}

func TestUnderTcpserver(t *testing.T) {
	tcpserver := mailtest.Peer(t, "tcpserver")
	underSupervisor(t, func(port string, command []string) []string {
		return append([]string{tcpserver, "-H", "-R", "-l", "localhost", "127.0.0.1", port}, command...)
	})
}

func TestUnderSystemdAccept(t *testing.T) {
	activate := mailtest.Peer(t, "systemd-socket-activate")
	underSupervisor(t, func(port string, command []string) []string {
		return append([]string{activate, "--inetd", "-a", "-l", "127.0.0.1:" + port, "-E", "HOME"}, command...)
	})
}

func TestUnderSystemdListen(t *testing.T) {
	activate := mailtest.Peer(t, "systemd-socket-activate")
	underSupervisor(t, func(port string, command []string) []string {
		return append([]string{activate, "-l", "127.0.0.1:" + port, "-E", "HOME"}, command...)
	})
}

func underSupervisor(t *testing.T, wrap func(port string, command []string) []string) {
	bin := mailtest.Build(t, programs...)
	for name, session := range sessions {
		t.Run(name, func(t *testing.T) {
			office := newOffice(t, bin)
			port := mailtest.FreePort(t)
			args := wrap(port, []string{bin + "/" + name, "--office", office})
			cmd := exec.Command(args[0], args[1:]...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = io.Discard, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
				cmd.Wait()
				if t.Failed() {
					t.Logf("stderr: %s", stderr.String())
				}
			}()
			c := connect(t, "127.0.0.1:"+port)
			defer c.Close()
			mailtest.Dialog(t, c, session)
			checkStored(t, name, office)
		})
	}
}

// checkStored sees to it that smtpd's letter says where it came from.
func checkStored(t *testing.T, name, office string) {
	t.Helper()
	if name != "smtpd" {
		return
	}
	files, _ := filepath.Glob(office + "/example.org/alice/Maildir/new/*")
	if len(files) != 2 {
		t.Fatalf("files: %v", files)
	}
	for _, f := range files { // in no order of time: the names of one second differ in length
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nSubject: second\n") {
			if !strings.Contains(string(text), "[127.0.0.1]") {
				t.Errorf("no peer in Received: %q", text)
			}
			return
		}
	}
	t.Error("the second letter is not there")
}

// connect tries until the supervisor listens.
func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("connect: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Under inetd stderr is the connection too: what goes wrong before the session is not told to the peer.
func TestNothingOfStderrReachesThePeer(t *testing.T) {
	bin := mailtest.Build(t, programs...)
	for name := range sessions {
		for what, args := range map[string][]string{
			"no office":    {"--office", "/nonexistent/office"},
			"unknown flag": {"--bogus"},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
				if err != nil {
					t.Fatal(err)
				}
				ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
				defer ours.Close()
				cmd := exec.Command(bin+"/"+name, args...)
				cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
				err = cmd.Run()
				theirs.Close()
				said, _ := io.ReadAll(ours)
				if err == nil || len(said) != 0 {
					t.Errorf("got %v and %q", err, said)
				}
			})
		}
	}
}
