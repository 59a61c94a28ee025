package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"pennypost/internal/mailtest"
)

// The same sessions as under a supervisor, over one socket as inetd gives it.
func TestUnderInetd(t *testing.T) {
	bin := mailtest.Build(t, programs...)
	for name, session := range sessions {
		t.Run(name, func(t *testing.T) {
			office := newOffice(t, bin)
			mailtest.Dialog(t, mailtest.Child(t, bin+"/"+name, "--office", office), session)
		})
	}
}

// A session of a mail exchanger as an operator sees it, with all that is offered: an unknown user, a foreign domain and a letter that
// is taken, under an id that is in the letter too.
func TestSessionOfAMailExchanger(t *testing.T) {
	bin := mailtest.Build(t, programs...)
	office := t.TempDir()
	if err := os.MkdirAll(filepath.Join(office, "joursoir.net/chat"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := mailtest.Child(t, bin+"/smtpd", "--office", office, "--name", "smtp.joursoir.net", "--queue", t.TempDir(), "--allow-plaintext")
	mailtest.Dialog(t, c, `
		<- 220 smtp.joursoir.net ESMTP
		-> EHLO gmail-smtp-in.l.google.com
		<- 250-smtp.joursoir.net
		<- 250-PIPELINING
		<- 250-SIZE 10240000
		<- 250-VRFY
		<- 250-ETRN
		<- 250-STARTTLS
		<- 250-AUTH PLAIN LOGIN
		<- 250-ENHANCEDSTATUSCODES
		<- 250-8BITMIME
		<- 250-DSN
		<- 250-SMTPUTF8
		<- 250 CHUNKING
		-> MAIL FROM: <someuser@gmail.com>
		<- 250 2.1.0 Ok
		-> RCPT TO: <bigboy@joursoir.net>
		<- 550 5.1.1 <bigboy@joursoir.net>: Recipient address rejected: User unknown in virtual mailbox table
		-> RCPT TO: <bigboy@example.com>
		<- 454 4.7.1 <bigboy@example.com>: Relay access denied
		-> RCPT TO: <chat@joursoir.net>
		<- 250 2.1.5 Ok
		-> DATA
		<- 354 End data with <CR><LF>.<CR><LF>
		-> Subject: hello
		->
		-> ..a dot
		-> .
		<~ ^250 2\.0\.0 Ok: queued as [0-9A-F]{10}$
		-> QUIT
		<- 221 2.0.0 Bye
		<- EOF
	`)
	files, _ := filepath.Glob(office + "/joursoir.net/chat/Maildir/new/*")
	if len(files) != 1 {
		t.Fatalf("files: %v", files)
	}
	if m, err := os.ReadFile(files[0]); err != nil || !regexp.MustCompile(`by smtp\.joursoir\.net with ESMTP id [0-9A-F]{10}\n`).Match(m) {
		t.Errorf("got %q, %v", m, err)
	}
}
