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

const checksZone = `
2.2.0.192.bl.example.       A    127.0.0.2
2.2.0.192.bl.example.       TXT  "go away"
3.2.0.192.bl.example.       A    127.0.0.10
4.2.0.192.bl.example.       A    127.0.0.2
4.2.0.192.wl.example.       A    127.0.0.5
;! servfail 5.2.0.192.bl.example.
1.2.0.192.in-addr.arpa.     PTR  Mail.Client.example.
mail.client.example.        A    192.0.2.1
2.2.0.192.in-addr.arpa.     PTR  mail.client.example.
null.example.               MX   0 .
good.example.               MX   10 mail.client.example.
;! servfail broken.example.
`

// checked starts smtpd for a client at ip and returns the connection to it.
func checked(t *testing.T, bin, office, ip string, args ...string) net.Conn {
	t.Helper()
	zone := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(zone, []byte(checksZone), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PROTO", "TCP")
	t.Setenv("TCPREMOTEIP", ip)
	t.Setenv("TCPREMOTEHOST", "unverified.example")
	return mailtest.Child(t, bin, append([]string{"--office", office, "--name", "mx.example.org", "--zone", zone}, args...)...)
}

// A session with each check: what it refuses at which command, and what it lets through.
func TestChecks(t *testing.T) {
	const toAlice = `
		<- 220 ...
		-> HELO mail.client.example
		<- 250 ...
		-> MAIL FROM:<a@good.example>
		<- 250 ...
		-> RCPT TO:<alice@example.org>
		`
	const fine = toAlice + `
		<- 250 2.1.5 Ok
		-> QUIT
		<- 221 ...
		<- EOF`
	helo := func(name, answer string) string {
		return "<- 220 ...\n-> HELO " + name + "\n<- 250 ...\n-> MAIL FROM:<a@good.example>\n<- " + answer
	}
	from := func(path, answer string) string {
		return "<- 220 ...\n-> HELO x\n<- 250 ...\n-> MAIL FROM:" + path + "\n<- " + answer
	}
	tests := []struct{ name, ip, flags, script string }{
		{"no check", "192.0.2.2", "", fine},
		{"dnsbl", "192.0.2.2", "--dnsbl bl.example", toAlice + `
			<- 550 5.7.1 client [192.0.2.2] is listed in bl.example: go away
			-> RCPT TO:<Postmaster@example.org>
			<- 550 5.1.1 ...
			-> RCPT TO:<nobody@example.org>
			<- 550 5.1.1 ...`},
		{"dnsbl, not listed", "192.0.2.1", "--dnsbl bl.example", fine},
		{"dnsbl, other answer", "192.0.2.3", "--dnsbl bl.example=127.0.0.2-9", fine},
		{"dnsbl, this answer", "192.0.2.3", "--dnsbl bl.example=127.0.0.2,127.0.0.10-11", toAlice + "<- 550 5.7.1 client [192.0.2.3] is listed in bl.example"},
		{"dnsbl out of order", "192.0.2.5", "--dnsbl bl.example", fine},
		{"dnswl goes before dnsbl", "192.0.2.4", "--dnsbl bl.example --dnswl wl.example", fine},
		{"this host", "127.0.0.1", "--dnsbl bl.example --fcrdns require --check-helo resolve --greylist 1m", fine},
		{"fcrdns", "192.0.2.1", "--fcrdns require", fine},
		{"fcrdns, somebody else's name", "192.0.2.2", "--fcrdns require", toAlice + "<- 550 5.7.25 client [192.0.2.2] has no verified host name"},
		{"fcrdns, only for the log", "192.0.2.2", "--fcrdns log", fine},
		{"helo", "192.0.2.1", "--check-helo syntax", helo("gone.example", "250 2.1.0 Ok")},
		{"helo, not a name", "192.0.2.1", "--check-helo syntax", helo("x", "550 5.7.1 HELO x: not the full name of a host (RFC 5321 section 4.1.1.1)")},
		{"helo, our name", "192.0.2.1", "--check-helo syntax", helo("mx.example.org", "550 5.7.1 HELO mx.example.org: that is me, not you")},
		{"helo, another's address", "192.0.2.1", "--check-helo syntax", helo("[192.0.2.9]", "550 5.7.1 HELO [192.0.2.9]: not your address")},
		{"helo, unknown name", "192.0.2.1", "--check-helo resolve", helo("gone.example", "550 5.7.1 HELO gone.example: no such domain")},
		{"helo, DNS trouble", "192.0.2.1", "--check-helo resolve", helo("broken.example", "451 4.4.3 ...")},
		{"sender", "192.0.2.1", "--check-sender", from("<a@good.example>", "250 2.1.0 Ok")},
		{"sender is null", "192.0.2.1", "--check-sender", from("<>", "250 2.1.0 Ok")},
		{"sender is ours", "192.0.2.1", "--check-sender", from("<x@example.org>", "250 2.1.0 Ok")},
		{"sender takes no mail", "192.0.2.1", "--check-sender", from("<a@null.example>", "550 5.7.27 ...")},
		{"sender does not exist", "192.0.2.1", "--check-sender", from("<a@gone.example>", "550 5.1.8 ...")},
		{"sender, DNS trouble", "192.0.2.1", "--check-sender", from("<a@broken.example>", "451 4.4.3 ...")},
	}
	bin, office := newOffice(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := checked(t, bin, office, tt.ip, strings.Fields(tt.flags)...)
			mailtest.Dialog(t, c, tt.script)
		})
	}
}

// The verified name goes to the trace; the one that tcpserver found and nobody verified does not.
func TestVerifiedNameInReceived(t *testing.T) {
	bin, office := newOffice(t)
	for ip, want := range map[string]string{"192.0.2.1": "(mail.client.example [192.0.2.1])", "192.0.2.2": "([192.0.2.2])"} {
		c := checked(t, bin, office, ip, "--fcrdns", "log")
		mailtest.Dialog(t, c, send("bob@example.org"))
		if m := only(t, office, "bob"); !strings.Contains(m, "Received: from mail.client.example "+want+"\n") {
			t.Errorf("%s: got\n%s", ip, m)
		}
		os.RemoveAll(filepath.Join(office, "example.org", "bob", "Maildir"))
	}
}

// send is a session with one message.
func send(to string) string {
	return `
		<- 220 ...
		-> HELO mail.client.example
		<- 250 ...
		-> MAIL FROM:<a@good.example>
		<- 250 ...
		-> RCPT TO:<` + to + `>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> Authentication-Results: mx.example.org; dkim=pass header.d=bank.example
		-> Subject: hi
		->
		-> hi
		-> .
		<- 250 ...
		-> QUIT
		<- 221 ...
		<- EOF`
}

// The message has our results on top, and none that only pretend to be ours.
func TestAuthCheck(t *testing.T) {
	bin, office := newOffice(t)
	mailtest.Dialog(t, checked(t, bin, office, "192.0.2.1", "--auth-check"), send("bob@example.org"))
	m := only(t, office, "bob")
	if !strings.Contains(m, "\nAuthentication-Results: mx.example.org;\n\tspf=none ") || !strings.Contains(m, "\n\tpolicy.dmarc=reject\nReceived: ") || strings.Contains(m, "bank.example") {
		t.Errorf("got\n%s", m)
	}
}

// What the greylist remembers is in the office: another process of the same office lets the client in.
func TestGreylist(t *testing.T) {
	bin, office := newOffice(t)
	session := func(answers ...string) {
		t.Helper()
		script := "<- 220 ...\n-> HELO mail.client.example\n<- 250 ...\n-> MAIL FROM:<a@good.example>\n<- 250 ...\n"
		for i, to := range []string{"alice", "nobody"} {
			script += "-> RCPT TO:<" + to + "@example.org>\n<- " + answers[i] + "\n"
		}
		mailtest.Dialog(t, checked(t, bin, office, "192.0.2.1", "--greylist", "1ms"), script)
	}
	session("451 4.7.1 <alice@example.org>: greylisted, try again in 1s", "550 5.1.1 ...")
	session("250 2.1.5 Ok", "550 5.1.1 ...")
	session("250 2.1.5 Ok", "550 5.1.1 ...")
	mailtest.Dialog(t, checked(t, bin, office, "192.0.2.4", "--greylist", "1h", "--dnswl", "wl.example"), `
		<- 220 ...
		-> HELO mail.client.example
		<- 250 ...
		-> MAIL FROM:<b@good.example>
		<- 250 ...
		-> RCPT TO:<alice@example.org>
		<- 250 2.1.5 Ok`)
	if list, err := filepath.Glob(filepath.Join(office, "greylist", "*", "*.ok")); err != nil || len(list) != 1 {
		t.Errorf("got %q, %v, want one client that is known", list, err)
	}
}

// The program is asked at each stage, and its last line is the reply. 421 closes the connection.
func TestAsk(t *testing.T) {
	bin, office := newOffice(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "fault")
	script := `#!/bin/sh
echo "$SMTP_STAGE $TCPREMOTEIP ${HELO-} $SENDER ${RECIPIENT-} $(wc -l)" >>` + dir + `/asked
if [ "$SMTP_STAGE" = "$(cat ` + dir + `/stage)" ]; then
	echo some talk >&2
	echo "$(cat ` + dir + `/answer)" >&2
	exit "$(cat ` + dir + `/exit)"
fi
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	session := func(stage, answer, exit, dialog string) {
		t.Helper()
		for name, text := range map[string]string{"stage": stage, "answer": answer, "exit": exit} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		mailtest.Dialog(t, checked(t, bin, office, "192.0.2.1", "--ask", program), dialog)
	}
	const start = "<- 220 ...\n-> HELO mail.client.example\n<- 250 ...\n-> MAIL FROM:<a@good.example>\n"
	const rcpt = start + "<- 250 ...\n-> RCPT TO:<bob@example.org>\n"
	const data = rcpt + "<- 250 ...\n-> DATA\n<- 354 ...\n-> Subject: hi\n->\n-> hi\n-> .\n"
	session("connect", "554 5.7.1 not today", "100", "<- 554 5.7.1 not today\n<- EOF")
	session("mail", "450 4.7.1 later", "75", start+"<- 450 4.7.1 later")
	session("rcpt", "no code", "67", rcpt+"<- 550 5.1.1 no code")
	session("data", "452 4.3.1 full", "75", data+"<- 452 4.3.1 full")
	session("data", "250 2.0.0 fine", "1", data+"<- 451 4.3.0 250 2.0.0 fine")
	session("rcpt", "421 4.3.2 bye", "75", rcpt+"<- 421 4.3.2 bye\n<- EOF")
	if list := mails(t, office, "bob"); len(list) != 0 {
		t.Errorf("bob has %q", list)
	}
	if err := os.Remove(filepath.Join(dir, "asked")); err != nil {
		t.Fatal(err)
	}
	session("never", "", "", data+"<- 250 2.0.0 ...")
	only(t, office, "bob")
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	want := `connect 192.0.2.1    0
mail 192.0.2.1 mail.client.example a@good.example  0
rcpt 192.0.2.1 mail.client.example a@good.example bob@example.org 0
data 192.0.2.1 mail.client.example a@good.example bob@example.org 6
`
	if err != nil || string(asked) != want {
		t.Errorf("asked %q, %v, want %q", asked, err, want)
	}
}

func TestChecksUsage(t *testing.T) {
	bin, office := newOffice(t)
	for _, flags := range []string{"--dnsbl bl..example", "--dnsbl bl.example=4", "--dnswl =", "--fcrdns yes", "--check-helo no", "--greylist -1s", "--greylist 48h"} {
		cmd := exec.Command(bin, append([]string{"--office", office}, strings.Fields(flags)...)...)
		out, err := cmd.Output()
		if cmd.ProcessState.ExitCode() != 64 || len(out) != 0 {
			t.Errorf("%s: got %v, %q, want exit status 64 and no word", flags, err, out)
		}
	}
}

// The example of a server with a fault at one stage, as a client under test meets it.
func TestFaultyServer(t *testing.T) {
	bin, office := newOffice(t)
	t.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
	c := mailtest.Child(t, "../../examples/faulty-server.sh", office, "rcpt", "450 4.2.1 come later", "--name", "mx.example.org")
	mailtest.Dialog(t, c, `
		<- 220 mx.example.org ESMTP
		-> HELO client.example
		<- 250 ...
		-> MAIL FROM:<>
		<- 250 2.1.0 Ok
		-> RCPT TO:<alice@example.org>
		<- 450 4.2.1 come later
		-> QUIT
		<- 221 ...
		<- EOF`)
}
