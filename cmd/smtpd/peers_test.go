package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/mailtest"
	"pennypost/internal/smtp"
)

// newOffice makes an office with alice and bob at example.org; alice's password is hunter2.
func newOffice(t *testing.T) (bin, office string) {
	t.Helper()
	bin = filepath.Join(mailtest.Build(t, "smtpd"), "smtpd")
	office = t.TempDir()
	for _, user := range []string{"alice", "bob"} {
		if err := os.MkdirAll(filepath.Join(office, "example.org", user), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(bin, "--office", office, "passwd", "alice@example.org")
	cmd.Stdin = strings.NewReader("hunter2\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("passwd: %v\n%s", err, out)
	}
	return bin, office
}

var listeningLine = regexp.MustCompile(`msg=listening addr=(\S+)`)

// listening starts smtpd on a free port of loopback and returns the port. At the end it must stop by SIGTERM with status 0.
func listening(t *testing.T, bin, office string, args ...string) (port string) {
	t.Helper()
	return started(t, exec.Command(bin, append([]string{"--office", office, "--name", "mx.example.org", "--listen", "127.0.0.1:0"}, args...)...))
}

// started does the same with a command that becomes smtpd.
func started(t *testing.T, cmd *exec.Cmd) (port string) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer timer.Stop()
		log.ReadFrom(stderr)
		if err := cmd.Wait(); err != nil {
			t.Errorf("smtpd ended with %v\n%s", err, log.String())
		}
		if t.Failed() {
			t.Logf("log of smtpd:\n%s", log.String())
		}
	})
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		log.WriteString(line)
		if m := listeningLine.FindStringSubmatch(line); m != nil {
			_, port, err := net.SplitHostPort(m[1])
			if err != nil {
				t.Fatal(err)
			}
			return port
		}
		if err != nil {
			t.Fatalf("smtpd does not listen: %v\n%s", err, log.String())
		}
	}
}

// mails returns the messages of a user.
func mails(t *testing.T, office, user string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(office, "example.org", user, "Maildir", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(b))
	}
	return list
}

// only returns the one message that the user has.
func only(t *testing.T, office, user string) string {
	t.Helper()
	list := mails(t, office, user)
	if len(list) != 1 {
		t.Fatalf("%s has %d messages, want 1", user, len(list))
	}
	return list[0]
}

func runPeer(t *testing.T, stdin string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(mailtest.Peer(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestSwaks(t *testing.T) {
	mailtest.Peer(t, "swaks")
	bin, office := newOffice(t)
	port := listening(t, bin, office)
	swaks := func(args ...string) (string, error) {
		return runPeer(t, "", "swaks", append([]string{"--server", "127.0.0.1", "--port", port, "--helo", "client.example",
			"--from", "someone@example.com", "--header", "Subject: hi", "--body", "line one\n.dot\n"}, args...)...)
	}
	t.Run("plain, two recipients", func(t *testing.T) {
		if out, err := swaks("--to", "alice@example.org,bob@example.org"); err != nil {
			t.Fatalf("swaks: %v\n%s", err, out)
		}
		for _, user := range []string{"alice", "bob"} {
			m := only(t, office, user)
			if !strings.Contains(m, "by mx.example.org with ESMTP id ") || !strings.Contains(m, "\n.dot\n") || strings.Contains(m, "\tfor <") {
				t.Errorf("%s got\n%s", user, m)
			}
		}
	})
	t.Run("refused recipient", func(t *testing.T) {
		out, err := swaks("--to", "nobody@example.org")
		if err == nil || !strings.Contains(out, "<** 550 5.1.1 <nobody@example.org>: Recipient address rejected") {
			t.Errorf("swaks: %v\n%s", err, out)
		}
	})
	t.Run("one of two refused", func(t *testing.T) {
		out, _ := swaks("--to", "nobody@example.org,bob@example.org")
		if !strings.Contains(out, "<** 550 5.1.1") || !strings.Contains(out, "Ok: queued as") {
			t.Errorf("swaks: %s", out)
		}
	})
	t.Run("STARTTLS and AUTH", func(t *testing.T) {
		out, err := swaks("--to", "alice@example.org", "--tls", "--auth", "PLAIN", "--auth-user", "alice@example.org", "--auth-password", "hunter2")
		if err != nil && strings.Contains(out, "not available") {
			t.Skipf("swaks cannot do TLS here: %s", out)
		}
		list := mails(t, office, "alice")
		if err != nil || !strings.Contains(strings.Join(list, ""), "by mx.example.org with ESMTPSA id ") {
			t.Errorf("swaks: %v\n%s\n%s", err, out, list)
		}
		if strings.Contains(strings.Join(list, ""), "hunter2") {
			t.Error("the password is in a message")
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		out, err := swaks("--to", "alice@example.org", "--tls", "--auth", "LOGIN", "--auth-user", "alice@example.org", "--auth-password", "x")
		if err == nil || !strings.Contains(out, "535 5.7.8") && !strings.Contains(out, "not available") {
			t.Errorf("swaks: %v\n%s", err, out)
		}
	})
	t.Run("pipelining", func(t *testing.T) {
		if out, err := swaks("--to", "bob@example.org", "--pipeline"); err != nil {
			t.Errorf("swaks: %v\n%s", err, out)
		}
	})
}

func TestMsmtp(t *testing.T) {
	mailtest.Peer(t, "msmtp")
	bin, office := newOffice(t)
	port := listening(t, bin, office)
	const text = "From: someone@example.com\nTo: alice@example.org\nDate: Tue, 24 Nov 2026 05:40:00 +0000\nSubject: hi\n\nline one\n.dot\n..\n"
	msmtp := func(args ...string) (string, error) {
		return runPeer(t, text, "msmtp", append([]string{"--file=/dev/null", "--host=127.0.0.1", "--port=" + port, "--domain=client.example",
			"--from=someone@example.com"}, args...)...)
	}
	t.Run("plain", func(t *testing.T) {
		if out, err := msmtp("--tls=off", "--", "alice@example.org", "bob@example.org"); err != nil {
			t.Fatalf("msmtp: %v\n%s", err, out)
		}
		for _, user := range []string{"alice", "bob"} {
			if m := only(t, office, user); !strings.HasSuffix(m, text) {
				t.Errorf("%s got\n%s", user, m)
			}
		}
	})
	t.Run("STARTTLS and AUTH", func(t *testing.T) {
		out, err := msmtp("--tls=on", "--tls-starttls=on", "--tls-certcheck=off", "--auth=plain", "--user=alice@example.org", "--passwordeval=echo hunter2", "--", "bob@example.org")
		if list := mails(t, office, "bob"); err != nil || len(list) != 2 || !strings.Contains(strings.Join(list, ""), "with ESMTPSA id ") {
			t.Errorf("msmtp: %v\n%s\n%s", err, out, list)
		}
	})
	t.Run("refused recipient", func(t *testing.T) {
		out, err := msmtp("--tls=off", "--", "nobody@example.org")
		if err == nil || !strings.Contains(out, "User unknown in virtual mailbox table") {
			t.Errorf("msmtp: %v\n%s", err, out)
		}
	})
	t.Run("no relay", func(t *testing.T) {
		out, err := msmtp("--tls=off", "--", "nobody@elsewhere.example")
		if err == nil || !strings.Contains(out, "Relay access denied") {
			t.Errorf("msmtp: %v\n%s", err, out)
		}
	})
}

// With --tls-wrap the session begins in TLS.
func TestSwaksTLS(t *testing.T) {
	mailtest.Peer(t, "swaks")
	bin, office := newOffice(t)
	port := listening(t, bin, office, "--tls-wrap", "--submission")
	swaks := func(args ...string) (string, error) {
		return runPeer(t, "", "swaks", append([]string{"--server", "127.0.0.1", "--port", port, "--tlsc",
			"--from", "alice@example.org", "--to", "bob@example.org"}, args...)...)
	}
	out, err := swaks()
	if strings.Contains(out, "not available") {
		t.Skipf("swaks cannot do TLS here: %s", out)
	}
	if err == nil || !strings.Contains(out, "530 5.7.0 Authentication required") {
		t.Errorf("without a login: %v\n%s", err, out)
	}
	if out, err := swaks("--auth", "LOGIN", "--auth-user", "alice@example.org", "--auth-password", "hunter2"); err != nil {
		t.Errorf("with a login: %v\n%s", err, out)
	}
	if m := only(t, office, "bob"); !strings.Contains(m, "with ESMTPSA id ") {
		t.Errorf("got\n%s", m)
	}
}

// tcpserver runs one smtpd for each connection; the peer it names is in the trace.
func TestTCPServer(t *testing.T) {
	tcpserver := mailtest.Peer(t, "tcpserver")
	bin, office := newOffice(t)
	cmd := exec.Command(tcpserver, "-1", "-HR", "-l", "mx.example.org", "127.0.0.1", "0", bin, "--office", office, "--name", "mx.example.org")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var port int
	if _, err := fmt.Fscan(stdout, &port); err != nil {
		t.Fatalf("tcpserver does not print its port: %v", err)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mailtest.Dialog(t, c, `
		<- 220 mx.example.org ESMTP
		-> HELO client.example
		<- 250 mx.example.org
		-> MAIL FROM:<>
		<- 250 2.1.0 Ok
		-> RCPT TO:<alice@example.org>
		<- 250 2.1.5 Ok
		-> DATA
		<- 354 ...
		-> hi
		-> .
		<- 250 2.0.0 Ok: queued as...
		-> QUIT
		<- 221 2.0.0 Bye
		<- EOF`)
	if m := only(t, office, "alice"); !strings.Contains(m, "Received: from client.example ([127.0.0.1])\n") {
		t.Errorf("got\n%s", m)
	}
}

// Messages of every kind come through as they are: large, without a header, with 8-bit bytes in it, empty.
func TestMessagesUnchanged(t *testing.T) {
	bin, office := newOffice(t)
	big := "Subject: big\n\n" + strings.Repeat(strings.Repeat("0123456789abcdef", 4)+"\n", 20<<20/65)
	for name, text := range map[string]string{
		"20 MB":     big,
		"8-bit":     "Subject: \xe4\xf6\xfc\n\nb\xf6dy\n",
		"no header": "\njust text\n",
		"no colon":  "this is no header\n",
		"empty":     "",
		"dots":      ".\n..\n...\n\n.\n",
		"long line": strings.Repeat("x", 100_000) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			var in bytes.Buffer
			in.WriteString("HELO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
			w := smtp.NewDotWriter(&in)
			if _, err := w.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			in.WriteString("QUIT\r\n")
			cmd := exec.Command(bin, "--office", office, "--max-size", "30000000")
			cmd.Stdin = &in
			cmd.Env = append(os.Environ(), "TZ=UTC")
			out, err := cmd.Output()
			if err != nil || !strings.Contains(string(out), "\r\n250 2.0.0 Ok: queued as ") || !strings.HasSuffix(string(out), "221 2.0.0 Bye\r\n") {
				t.Fatalf("got %v\n%s", err, out)
			}
			m := only(t, office, "bob")
			if _, got, ok := strings.Cut(m, " +0000\n"); !ok || got != text {
				t.Errorf("got %d bytes %.200q, want %d", len(m), m, len(text))
			}
			os.RemoveAll(filepath.Join(office, "example.org", "bob", "Maildir"))
		})
	}
}
