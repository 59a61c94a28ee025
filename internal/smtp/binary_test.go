package smtp

import (
	"context"
	"encoding/base64"
	"net"
	"strings"
	"testing"

	"pennypost/internal/message"
)

const (
	octets       = "\x00\r\n.\r\nQUIT\n\r\xff"
	binaryLetter = "DKIM-Signature: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + octets
)

// binaryInLines is what the letter is where there are lines.
func binaryInLines() string {
	return "DKIM-Signature: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(octets)) + "\n"
}

// Octets that our client sends arrive in our server, whose handler gets lines, and a body that is what it says.
func TestBinary(t *testing.T) {
	e, o := newTestEngine()
	e.BinaryMIME = true
	conn := start(t, e, peer)
	ctx := context.Background()
	c, err := Connect(ctx, func(context.Context) (net.Conn, error) { return conn, nil }, Options{Helo: "client.example"})
	if err != nil {
		t.Fatal(err)
	}
	env := letter(t, "chat@joursoir.net")
	env.Body = BinaryMIME
	if got := verdicts(c.Send(ctx, message.Bytes([]byte(binaryLetter)), env)); !strings.HasPrefix(got, "K 250 ") {
		t.Fatal(got)
	}
	c.Quit(ctx)
	m := o.one(t)
	if _, text, _ := strings.Cut(m.text, "+0000\n"); text != binaryInLines() || m.env.Body != "8BITMIME" {
		t.Errorf("got %q, body %s", text, m.env.Body)
	}
}

// What goes over the wire depends on the server, and on what it is told to use.
func TestSendBinary(t *testing.T) {
	const text = `
		<- DKIM-Signature: x
		<- MIME-Version: 1.0
		<- Content-Transfer-Encoding: base64
		<-
		<- AA0KLg0KUVVJVAoN/w==
		<- .
		-> 250
		<- QUIT`
	begin := func(greeting string) string {
		return greeting + `
		<- MAIL FROM:<a@a.example>
		-> 250
		<- RCPT TO:<b@b.example>
		-> 250
		<- DATA
		-> 354`
	}
	const both = `
		-> 220 mx.example
		<- EHLO me.example
		-> 250-mx.example
		-> 250-CHUNKING
		-> 250 BINARYMIME`
	for _, c := range []struct {
		name, text, script, want string
		o                        Options
		warned                   bool
	}{
		{"offered", binaryLetter, both + `
			<- MAIL FROM:<a@a.example> BODY=BINARYMIME
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- BDAT 88 LAST
			<- DKIM-Signature: x
			<- MIME-Version: 1.0
			<- Content-Transfer-Encoding: binary
			<-
			<= \x00\r\n.\r\nQUIT\n\r\xff
			-> 250
			<- QUIT`, "K 250\n", Options{}, false},
		{"not offered", binaryLetter, begin(hello) + text, "K 250\n", Options{}, true},
		{"only chunks are offered", binaryLetter, begin(`
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 CHUNKING`) + text, "K 250\n", Options{}, true},
		{"not wanted", binaryLetter, begin(both) + text, "K 250\n", Options{Chunking: ChunkNever}, true},
		{"stopped behind DATA", binaryLetter, begin(both) + `
			<- EOF`, "D 554 5.0.0 stopped as asked for after data\n", Options{Stop: StageData}, true},
		{"no octets of the wire", strings.ReplaceAll(binaryLetter, "\r\n", "\n"), both + `
			<- QUIT`, "D 554 5.6.0 Error: bare LF outside of the binary parts (counted without them)\n", Options{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			warned := false
			c.o.Warn = func(string) { warned = true }
			env := letter(t, "b@b.example")
			env.Body = BinaryMIME
			if got := converse(t, c.o, env, c.text, c.script); got != c.want || warned != c.warned {
				t.Errorf("got %q, warned %v", got, warned)
			}
		})
	}
}

// A long header is refused in what the octets became, as everywhere.
func TestBinaryShape(t *testing.T) {
	e, _ := newTestEngine()
	e.BinaryMIME, e.MaxHeader = true, 30
	r := newReader(t, start(t, e, peer))
	r.say("220", "")
	r.say("250", "EHLO client.example\r\n")
	r.say("250", "MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n")
	r.say("250", "RCPT TO:<chat@joursoir.net>\r\n")
	r.say("552", "BDAT 41 LAST\r\nSubject: 0123456789012345678901234567\r\n\r\n")
}
