package smtp

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// startTCP is start over loopback: TLS peers write at the same time, for which net.Pipe has no room.
func startTCP(t testing.TB, e *Engine) net.Conn {
	t.Helper()
	client, server := mailtest.TCP(t)
	done := make(chan struct{})
	go func() { defer close(done); e.Serve(t.Context(), server, peer) }()
	t.Cleanup(func() { client.Close(); <-done })
	return client
}

const beforeTLS = `
	<- 220 ...
	-> EHLO client.example
	<- 250-smtp.joursoir.net
	<- 250-PIPELINING
	<- 250-SIZE 10240000
	<- 250-VRFY
	<- 250-STARTTLS
	<- 250-ENHANCEDSTATUSCODES
	<- 250-8BITMIME
	<- 250-DSN
	<- 250-SMTPUTF8
	<- 250 CHUNKING
	`

// RFC 3207: after the handshake everything said before is forgotten, and AUTH is possible.
func TestStartTLS(t *testing.T) {
	e, o := newTestEngine()
	config, pool := testTLS(t)
	e.TLS, e.Auth = config, testAuth(false)
	c := startTCP(t, e)
	mailtest.Dialog(t, c, beforeTLS+`
		-> STARTTLS now
		<- 501 5.5.4 Syntax: STARTTLS
		-> AUTH PLAIN AGFsaWNlAHNlY3JldA==
		<- 538 5.7.11 ...
		-> MAIL FROM:<a@b.example>
		<- 250 2.1.0 Ok
		-> STARTTLS
		<- 503 5.5.1 Error: STARTTLS is not possible inside a transaction
		-> RSET
		<- 250 2.0.0 Ok
		-> STARTTLS
		<- 220 2.0.0 Ready to start TLS`)
	secure := tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "smtp.joursoir.net"})
	mailtest.Dialog(t, secure, `
		-> MAIL FROM:<a@b.example>
		<- 503 5.5.1 Error: send HELO/EHLO first
		-> EHLO client.example
		<- 250-smtp.joursoir.net
		<- 250-PIPELINING
		<- 250-SIZE 10240000
		<- 250-VRFY
		<- 250-AUTH PLAIN LOGIN
		<- 250-ENHANCEDSTATUSCODES
		<- 250-8BITMIME
		<- 250-DSN
		<- 250-SMTPUTF8
		<- 250-REQUIRETLS
		<- 250 CHUNKING
		-> STARTTLS
		<- 503 5.5.1 Error: TLS already active
		-> AUTH PLAIN AGFsaWNlAHNlY3JldA==
		<- 235 2.7.0 Authentication successful
		-> MAIL FROM:<alice@joursoir.net>
		<- 250 2.1.0 Ok
		-> RCPT TO:<chat@joursoir.net>
		<- 250 2.1.5 Ok
		-> DATA
		<- 354 ...
		-> hi
		-> .
		<- 250 2.0.0 Ok: queued as C15F841DD5
		-> QUIT
		<- 221 2.0.0 Bye
		<- EOF`)
	m := o.one(t)
	if m.env.Conn.AuthUser != "alice@joursoir.net" || !strings.HasPrefix(m.env.Conn.TLS, "TLSv1.3 TLS_") {
		t.Errorf("got connection %+v", m.env.Conn)
	}
	if !strings.Contains(m.text, "with ESMTPSA id C15F841DD5\n\t(TLSv1.3 TLS_") {
		t.Errorf("got %q", m.text)
	}
}

// With TLS from the first byte the banner is inside it, and STARTTLS is not offered.
func TestTLSOnly(t *testing.T) {
	e, o := newTestEngine()
	config, pool := testTLS(t)
	e.TLS, e.TLSOnly = config, true
	secure := tls.Client(startTCP(t, e), &tls.Config{RootCAs: pool, ServerName: "smtp.joursoir.net"})
	mailtest.Dialog(t, secure, strings.NewReplacer("<- 250-STARTTLS", "", "<- 250 CHUNKING", "<- 250-REQUIRETLS\n<- 250 CHUNKING").Replace(beforeTLS)+`
		=> MAIL FROM:<a@b.example>\r\nRCPT TO:<chat@joursoir.net>\r\nDATA\r\n
		<- 250 2.1.0 Ok
		<- 250 2.1.5 Ok
		<- 354 ...
		=> x\r\n.\r\nQUIT\r\n
		<- 250 2.0.0 ...
		<- 221 2.0.0 Bye
		<- EOF`)
	if m := o.one(t); !strings.Contains(m.text, "with ESMTPS id ") {
		t.Errorf("got %q", m.text)
	}
}

func TestTLSOnlyInClear(t *testing.T) {
	e, _ := newTestEngine()
	e.TLS, _ = testTLS(t)
	e.TLSOnly = true
	c := startTCP(t, e)
	mailtest.Dialog(t, c, `=> EHLO client.example\r\n`)
	rest := make([]byte, 1000)
	n, _ := c.Read(rest)
	if s := string(rest[:n]); strings.Contains(s, "220") {
		t.Errorf("the server spoke in clear: %q", s)
	}
}

// What is sent in clear behind STARTTLS is a violation when it comes at once; it is never a command.
func TestStartTLSInjection(t *testing.T) {
	e, o := newTestEngine()
	e.TLS, _ = testTLS(t)
	mailtest.Dialog(t, startTCP(t, e), beforeTLS+`
		=> STARTTLS\r\nRSET\r\n
		<- 554 5.5.0 Error: nothing may follow STARTTLS before its reply (RFC 2920)
		<- EOF`)
	if len(o.mails) != 0 {
		t.Error("mail came through")
	}
}

// Where pipelining is not policed, what was sent behind STARTTLS still becomes a part of the handshake and breaks it.
func TestStartTLSLeftover(t *testing.T) {
	e, _ := newTestEngine()
	e.TLS, _ = testTLS(t)
	client, server := mailtest.TCP(t)
	defer client.Close()
	local := peer
	local.RemoteIP = ""
	go e.Serve(t.Context(), server, local)
	mailtest.Dialog(t, client, `
		<- 220 ...
		=> STARTTLS\r\nEHLO client.example\r\nMAIL FROM:<>\r\n
		<- 220 2.0.0 Ready to start TLS`)
	rest := make([]byte, 1000)
	n, _ := client.Read(rest)
	if s := string(rest[:n]); strings.Contains(s, "250") {
		t.Errorf("a command in clear was answered: %q", s)
	}
}

// A handshake that fails ends the session: nothing more is said in clear (the trap is to reply 5xx and go on).
func TestStartTLSFailed(t *testing.T) {
	e, _ := newTestEngine()
	e.TLS, _ = testTLS(t)
	c := startTCP(t, e)
	mailtest.Dialog(t, c, beforeTLS+`
		-> STARTTLS
		<- 220 2.0.0 Ready to start TLS`)
	mailtest.Dialog(t, c, `=> EHLO client.example\r\nMAIL FROM:<>\r\n`)
	rest := make([]byte, 1000)
	n, _ := c.Read(rest)
	if s := string(rest[:n]); strings.Contains(s, "250") || strings.Contains(s, "55") {
		t.Errorf("the server went on in clear: %q", s)
	}
}

// The last reply is seen even when the client has sent more than the server read.
func TestLastReplyIsSeen(t *testing.T) {
	e, _ := newTestEngine()
	c := startTCP(t, e)
	mailtest.Dialog(t, c, "<- 220 ...")
	mailtest.Dialog(t, c, `=> GET / HTTP/1.1\r\n`+strings.Repeat("x", 100000)+`\r\n
		<- 554 5.5.0 Error: I speak SMTP, not HTTP
		<- EOF`)
}
