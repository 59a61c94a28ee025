package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

func TestMain(m *testing.M) { mailtest.Main(m) }

func TestScripts(t *testing.T) {
	mailtest.Scripts(t, "testdata/script", "smtpsend", "smtpd", "mailauth")
}

// smtpsend runs the program with a message on stdin and returns stdout and the exit status.
func smtpsend(t *testing.T, text string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend"), args...)
	cmd.Stdin = strings.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if t.Failed() {
		t.Logf("stderr: %s", stderr.String())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// hosts listens on one port of several addresses, 127.0.0.1 and up.
func hosts(t *testing.T, n int) (port string, all []net.Listener) {
	t.Helper()
	for range 20 {
		all = nil
		port = "0"
		for i := range n {
			l, err := net.Listen("tcp", "127.0.0."+strconv.Itoa(i+1)+":"+port)
			if err != nil {
				break
			}
			t.Cleanup(func() { l.Close() })
			all = append(all, l)
			_, port, _ = net.SplitHostPort(l.Addr().String())
		}
		if len(all) == n {
			return port, all
		}
	}
	t.Skip("cannot listen on several loopback addresses")
	return "", nil
}

const zone = `
a.example. MX 10 mx1.a.example.
a.example. MX 20 mx2.a.example.
b.example. MX 10 mx2.a.example.
mx1.a.example. A 127.0.0.1
mx1.a.example. A 127.0.0.2
mx2.a.example. A 127.0.0.3
host.example. A 127.0.0.1
`

const greets = `
	-> 220 mx
	<- EHLO me.example
	-> 250 mx
	<- MAIL FROM:<s@example.org>
	-> 250
`

const takes = `
	<- DATA
	-> 354
	<- Subject: x
	<-
	<- .
	-> 250 taken
	<- QUIT
`

func TestMailExchangers(t *testing.T) {
	tests := []struct {
		name    string
		to      []string
		scripts []string // by host; "" = the connection must not come; "closed" = nobody listens
		want    string
		exit    int
	}{
		{"the best host", []string{"a@a.example", "b@a.example"}, []string{greets + `
			<- RCPT TO:<a@a.example>
			-> 250
			<- RCPT TO:<b@a.example>
			-> 250` + takes, "", ""},
			"K\ta@a.example\tmx1.a.example[127.0.0.1]:PORT\t250 taken\nK\tb@a.example\tmx1.a.example[127.0.0.1]:PORT\t250 taken\n", 0},
		{"a domain without MX", []string{"a@host.example"}, []string{greets + `
			<- RCPT TO:<a@host.example>
			-> 250` + takes, "", ""},
			"K\ta@host.example\thost.example[127.0.0.1]:PORT\t250 taken\n", 0},
		{"an address literal", []string{"a@[127.0.0.3]"}, []string{"", "", greets + `
			<- RCPT TO:<a@[127.0.0.3]>
			-> 250` + takes},
			"K\ta@[127.0.0.3]\t[127.0.0.3]:PORT\t250 taken\n", 0},
		{"every address, then the next host", []string{"a@a.example", "b@a.example"}, []string{"closed", greets + `
			<- RCPT TO:<a@a.example>
			-> 450 4.2.0 later
			<- RCPT TO:<b@a.example>
			-> 250` + takes, greets + `
			<- RCPT TO:<a@a.example>
			-> 250` + takes},
			"K\ta@a.example\tmx2.a.example[127.0.0.3]:PORT\t250 taken\nK\tb@a.example\tmx1.a.example[127.0.0.2]:PORT\t250 taken\n", 0},
		{"refused for good: no other host", []string{"a@a.example"}, []string{greets + `
			<- RCPT TO:<a@a.example>
			-> 550 5.1.1 no
			<- QUIT`, "", ""},
			"D\ta@a.example\tmx1.a.example[127.0.0.1]:PORT\t550 5.1.1 no\n", 100},
		{"a greeting of 5xx is of the host only", []string{"a@a.example"}, []string{"-> 554 no\n<- EOF", "-> 421 busy\n<- EOF", greets + `
			<- RCPT TO:<a@a.example>
			-> 250` + takes},
			"K\ta@a.example\tmx2.a.example[127.0.0.3]:PORT\t250 taken\n", 0},
		{"a server's word stays when no other can be reached", []string{"a@a.example"}, []string{greets + `
			<- RCPT TO:<a@a.example>
			-> 450 4.2.0 greylisted
			<- QUIT`, "closed", "closed"},
			"Z\ta@a.example\tmx1.a.example[127.0.0.1]:PORT\t450 4.2.0 greylisted\n", 75},
		{"lost after the final dot: no second copy", []string{"a@a.example"}, []string{greets + `
			<- RCPT TO:<a@a.example>
			-> 250
			<- DATA
			-> 354
			<- Subject: x
			<-
			<- .`, "", ""},
			"Z\ta@a.example\tmx1.a.example[127.0.0.1]:PORT\t451 4.4.2 connection lost after the end of the message, which may have been taken: the server closed the connection: read reply: EOF\n", 75},
		{"two domains", []string{"a@b.example", "b@host.example", "c@b.example"}, []string{greets + `
			<- RCPT TO:<b@host.example>
			-> 250` + takes, "", greets + `
			<- RCPT TO:<a@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 550 5.1.1 no` + takes},
			"K\ta@b.example\tmx2.a.example[127.0.0.3]:PORT\t250 taken\nK\tb@host.example\thost.example[127.0.0.1]:PORT\t250 taken\nD\tc@b.example\tmx2.a.example[127.0.0.3]:PORT\t550 5.1.1 no\n", 100},
	}
	zoneFile := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(zoneFile, []byte(zone), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port, listeners := hosts(t, len(tt.scripts))
			ended := make(chan struct{}, len(listeners))
			for i, script := range tt.scripts {
				if script == "closed" {
					listeners[i].Close()
				}
				go func() {
					serve(t, listeners[i], script)
					ended <- struct{}{}
				}()
			}
			args := append([]string{"-f", "s@example.org", "--helo", "me.example", "--zone", zoneFile, "--port", port, "--timeout", "20s"}, tt.to...)
			got, exit := smtpsend(t, "Subject: x\n\n", args...)
			for _, l := range listeners {
				l.Close()
			}
			for range listeners {
				<-ended
			}
			if got = strings.ReplaceAll(got, ":"+port, ":PORT"); got != tt.want || exit != tt.exit {
				t.Errorf("exit %d, want %d\ngot\n%swant\n%s", exit, tt.exit, got, tt.want)
			}
		})
	}
}

// serve plays the script to the one connection that may come.
func serve(t *testing.T, l net.Listener, script string) {
	c, err := l.Accept()
	if err != nil {
		if script != "" && script != "closed" {
			t.Errorf("%s: nobody came", l.Addr())
		}
		return
	}
	defer c.Close()
	if script == "" {
		t.Errorf("%s: a connection that should not come", l.Addr())
		return
	}
	mailtest.Dialog(t, c, script)
}

// The program that is ended in the middle of a message leaves the server with a message that has no end.
func TestInterrupted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(file, []byte("Subject: x\n\n"+strings.Repeat("text\n", 4<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend"), "--helo", "me.example", "-f", "s@example.org", "--server", "smtp://"+l.Addr().String(), "a@a.example")
	cmd.Stdin, cmd.Stdout = stdin, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mailtest.Dialog(t, c, greets+`
		<- RCPT TO:<a@a.example>
		-> 250
		<- DATA
		-> 354
		<- Subject: x
	`)
	cmd.Process.Signal(os.Interrupt)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	rest := new(bytes.Buffer)
	if _, err := rest.ReadFrom(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("read the rest: %v", err)
	}
	if bytes.HasSuffix(rest.Bytes(), []byte("\r\n.\r\n")) {
		t.Error("an interrupted message was ended")
	}
	cmd.Wait()
	if exit := cmd.ProcessState.ExitCode(); exit != 75 || !strings.HasPrefix(out.String(), "Z\ta@a.example\t") {
		t.Errorf("exit %d, said %q, want 75 and a line with Z", exit, out.String())
	}
}
