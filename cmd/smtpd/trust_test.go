package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// inetd runs smtpd for one connection, which is its standard input and output, and returns the client's end.
func inetd(t *testing.T, bin, office string, env []string, args ...string) net.Conn {
	t.Helper()
	client, f := mailtest.TCPFile(t)
	defer f.Close()
	cmd := exec.Command(bin, append([]string{"--office", office, "--name", "mx.example.org"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Env = f, f, append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); cmd.Wait() })
	return client
}

// store is a command that keeps the message in a file.
func store(t *testing.T) (args []string, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "seen")
	return []string{"--", "sh", "-c", `cat >"$0"`, file}, file
}

// Who may send to other hosts without a login: nobody, unless a flag says so, and never by the environment alone.
func TestRelay(t *testing.T) {
	bin, office := newOffice(t)
	supervised := []string{"TCPREMOTEIP=192.0.2.7", "RELAYCLIENT="}
	tests := []struct {
		name  string
		env   []string
		flags []string
		mail  string // the reply to MAIL
		rcpt  string // the reply to a recipient elsewhere
	}{
		{"nobody", nil, nil, "250", "454 4.7.1"},
		{"RELAYCLIENT alone", supervised, nil, "250", "454 4.7.1"},
		{"the flag alone", supervised[:1], []string{"--relayclient"}, "250", "454 4.7.1"},
		{"RELAYCLIENT without a peer", supervised[1:], []string{"--relayclient"}, "250", "454 4.7.1"},
		{"both", supervised, []string{"--relayclient"}, "250", "250"},
		{"local is not who has an address", supervised, []string{"--relay-local"}, "250", "454 4.7.1"},
		{"another network", supervised[:1], []string{"--relay-from", "198.51.100.0/24"}, "250", "454 4.7.1"},
		{"its network", supervised[:1], []string{"--relay-from", "198.51.100.0/24", "--relay-from", "192.0.2.0/24"}, "250", "250"},
		{"submission", supervised, []string{"--relayclient", "--relay-from", "192.0.2.7", "--submission"}, "530 5.7.0", "503"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			command, _ := store(t)
			mailtest.Dialog(t, inetd(t, bin, office, tt.env, append(tt.flags, command...)...), `
				<- 220 ...
				-> HELO client.example
				<- 250 ...
				-> MAIL FROM:<a@b.example>
				<- `+tt.mail+`...
				-> RCPT TO:<c@elsewhere.example>
				<- `+tt.rcpt+`...
				-> QUIT
				<- 221 ...
				<- EOF`)
		})
	}
}

// A program on this host may send anywhere with --relay-local, and talk before the banner.
func TestRelayLocal(t *testing.T) {
	bin, office := newOffice(t)
	command, file := store(t)
	c := mailtest.Child(t, bin, append([]string{"--office", office, "--name", "mx.example.org", "--relay-local"}, command...)...)
	mailtest.Dialog(t, c, `
		=> HELO here\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@elsewhere.example>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n
		<- 220 ...
		<- 250 ...
		<- 250 ...
		<- 250 ...
		<- 354 ...
		<- 250 ...
		<- 221 ...
		<- EOF`)
	if seen, err := os.ReadFile(file); err != nil || !strings.HasSuffix(string(seen), "Subject: x\n\ny\n") {
		t.Errorf("stored %q, %v", seen, err)
	}
}

// Without a command there is nowhere to send it, whoever asks.
func TestRelayNowhere(t *testing.T) {
	bin, office := newOffice(t)
	mailtest.Dialog(t, inetd(t, bin, office, nil, "--relay-from", "127.0.0.0/8"), `
		<- 220 ...
		-> HELO client.example
		<- 250 ...
		-> MAIL FROM:<a@b.example>
		<- 250 ...
		-> RCPT TO:<c@elsewhere.example>
		<- 454 4.7.1 ...`)
}

// The client that XCLIENT names is in the trace, and has no rights of the peer that speaks for it.
func TestXClient(t *testing.T) {
	bin, office := newOffice(t)
	command, file := store(t)
	mailtest.Dialog(t, inetd(t, bin, office, []string{"TCPREMOTEIP=192.0.2.7", "RELAYCLIENT="},
		append([]string{"--relayclient", "--xclient-from", "192.0.2.7"}, command...)...), `
		<- 220 ...
		-> XCLIENT NAME=spike.example ADDR=198.51.100.9 HELO=spike.example
		<- 220 mx.example.org ESMTP
		-> MAIL FROM:<x@example.com>
		<- 250 ...
		-> RCPT TO:<c@elsewhere.example>
		<- 454 4.7.1 ...
		-> RCPT TO:<alice@example.org>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> .
		<- 250 ...
		-> QUIT
		<- 221 ...
		<- EOF`)
	b, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(b), "Received: from spike.example (spike.example [198.51.100.9])\n") {
		t.Errorf("got %q, %v", b, err)
	}
}
