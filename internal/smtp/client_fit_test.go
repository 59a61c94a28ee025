package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

const helloChunking = `
	-> 220 mx.example
	<- EHLO me.example
	-> 250-mx.example
	-> 250-PIPELINING
	-> 250 CHUNKING
`

func TestSendConverted(t *testing.T) {
	const mime = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
	long := strings.Repeat("x", 999)
	runSend(t, []sendCase{
		{"8-bit to a server without 8BITMIME", Options{}, []string{"b@b.example"}, mime + "Content-Transfer-Encoding: 8bit\n\n\xc3\xa4\n", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- DATA
			-> 354
			<- MIME-Version: 1.0
			<- Content-Type: text/plain; charset=utf-8
			<- Content-Transfer-Encoding: quoted-printable
			<-
			<- =C3=A4
			<- .
			-> 250
			<- QUIT`, "K 250\n"},
		{"8-bit that is signed", Options{}, []string{"b@b.example"}, "Content-Type: multipart/signed; boundary=x\n\n--x\n\n\xe4\n--x--\n", hello + `
			<- QUIT`, "D 554 5.6.3 convert the message: a part of it is signed and would have to be changed\n"},
		{"a long line", Options{}, []string{"b@b.example"}, "S: x\n\n" + long + "\n", hello + `
			<- QUIT`, "D 554 5.6.0 line 3 has more than the 998 bytes that may be sent\n"},
		{"a long line by wish", Options{WrapLines: true}, []string{"b@b.example"}, mime + "\n" + long + "\n", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- DATA
			-> 354
			<- MIME-Version: 1.0
			<- Content-Type: text/plain; charset=utf-8
			<- Content-Transfer-Encoding: quoted-printable
			<-
` + strings.Repeat("<- "+long[:75]+"=\n", 13) + "<- " + long[:24] + `
			<- .
			-> 250
			<- QUIT`, "K 250\n"},
	})
}

func TestWarnOfSignature(t *testing.T) {
	var warned []string
	o := Options{Warn: func(s string) { warned = append(warned, s) }}
	converse(t, o, letter(t, "b@b.example"), "DKIM-Signature: v=1\n\n\xe4\n", hello+"<- MAIL FROM:<a@a.example>\n-> 550 no\n<- QUIT")
	if len(warned) != 1 || !strings.Contains(warned[0], "DKIM") {
		t.Errorf("warnings: %q, want one of DKIM", warned)
	}
}

func TestSendChunks(t *testing.T) {
	o := Options{Chunking: ChunkAlways}
	lmtp := o
	lmtp.LMTP = true
	runSend(t, []sendCase{
		{"one chunk, no dots added", o, []string{"b@b.example"}, "S: x\n\n.dot", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			-> 250
			-> 250
			<- BDAT 14 LAST
			<- S: x
			<-
			<- .dot
			-> 250 2.0.0 14 octets
			<- QUIT`, "K 250 2.0.0 14 octets\n"},
		{"a small message goes by DATA", Options{}, []string{"b@b.example"}, "x", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 550 no
			-> 503
			-> 503
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"nothing", o, []string{"b@b.example"}, "", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			-> 250
			-> 250
			<- BDAT 0 LAST
			-> 250
			<- QUIT`, "K 250\n"},
		{"no recipient: no chunk", o, []string{"b@b.example"}, "x", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			-> 250
			-> 550 5.1.1 no
			<- QUIT`, "D 550 5.1.1 no\n"},
		{"MAIL refused: no chunk", o, []string{"b@b.example"}, "x", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			-> 450 4.7.1 later
			-> 250
			<- QUIT`, "Z 450 4.7.1 later\n"},
		{"421 to one recipient: no chunk", o, []string{"b@b.example", "c@b.example"}, "x", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			<- RCPT TO:<c@b.example>
			-> 250
			-> 250
			-> 421 4.3.2 down
			<- EOF`, "Z 421 4.3.2 down\nZ 421 4.3.2 down\n"},
		{"refused", o, []string{"b@b.example"}, "x", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			-> 250
			-> 250
			<- BDAT 3 LAST
			<- x
			-> 554 5.7.1 spam
			<- QUIT`, "D 554 5.7.1 spam\n"},
		{"lost after the last chunk", o, []string{"b@b.example"}, "x", helloChunking + `
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			-> 250
			-> 250
			<- BDAT 3 LAST
			<- x`, "Z 451 4.4.2 connection lost after the end of the message, which may have been taken: the server closed the connection: read reply: EOF\n"},
		{"LMTP: a reply for each", lmtp, []string{"b@b.example", "c@b.example"}, "x", `
			-> 220 mx.example
			<- LHLO me.example
			-> 250-mx.example
			-> 250 CHUNKING
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 250
			<- BDAT 3 LAST
			<- x
			-> 250 one
			-> 450 4.2.2 full
			<- QUIT`, "K 250 one\nZ 450 4.2.2 full\n"},
	})
}

// A large message goes in several chunks; the first that is refused ends it, and the session can go on.
func TestSendManyChunks(t *testing.T) {
	text := strings.Repeat(strings.Repeat("x", 98)+"\n", 2*chunkSize/100+1)
	wire := int64(len(text) / 99 * 100)
	for _, refuse := range []bool{false, true} {
		ours, theirs := socketPair(t)
		got := make(chan string, 1)
		go func() {
			c, err := Connect(context.Background(), fromServers(ours), Options{Helo: "me.example"})
			if err != nil {
				got <- err.Error()
				return
			}
			said := verdicts(c.Send(context.Background(), message.Bytes([]byte(text)), letter(t, "b@b.example")))
			got <- said + verdicts(c.Send(context.Background(), message.Bytes(nil), letter(t, "b@b.example")))
			c.Quit(context.Background())
		}()
		mailtest.Dialog(t, theirs, helloChunking+"<- MAIL FROM:<a@a.example>\n<- RCPT TO:<b@b.example>\n-> 250\n-> 250")
		want, again := "K 250 all\nD 550 5.0.0 no\n", "<- RSET\n<- MAIL FROM:<a@a.example>\n<- RCPT TO:<b@b.example>\n<- DATA\n-> 250\n-> 550 no\n-> 503\n-> 503\n<- QUIT"
		if readChunk(t, theirs, fmt.Sprintf("BDAT %d\r\n", chunkSize), chunkSize); refuse {
			want = "D 552 5.3.4 too big\nD 550 5.0.0 no\n"
			mailtest.Dialog(t, theirs, "-> 552 5.3.4 too big\n"+again)
		} else {
			mailtest.Dialog(t, theirs, "-> 250 go on")
			readChunk(t, theirs, fmt.Sprintf("BDAT %d\r\n", chunkSize), chunkSize)
			mailtest.Dialog(t, theirs, "-> 250 go on")
			readChunk(t, theirs, fmt.Sprintf("BDAT %d LAST\r\n", wire-2*chunkSize), wire-2*chunkSize)
			mailtest.Dialog(t, theirs, "-> 250 all\n"+strings.Replace(strings.TrimPrefix(again, "<- RSET\n"), "-> 250\n", "", 1))
		}
		if s := <-got; s != want {
			t.Errorf("refuse %v: got %q, want %q", refuse, s, want)
		}
	}
}

func readChunk(t *testing.T, c net.Conn, command string, size int64) {
	t.Helper()
	b := make([]byte, len(command))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != command {
		t.Fatalf("got %q, %v, want %q", b, err, command)
	}
	if n, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Fatalf("after %d bytes of the chunk: %v", n, err)
	}
}

// A message that becomes another while it is sent is never complete.
func TestChangingMessage(t *testing.T) {
	for name, change := range map[string]string{"shorter": "x\n", "longer": "x\nyyyyyyy\nz\n"} {
		var wire bytes.Buffer
		ours, theirs := net.Pipe()
		go func() { io.Copy(&wire, theirs); theirs.Close() }()
		c := &Client{raw: ours, conn: ours}
		unsure, err := c.chunked(t.Context(), message.Bytes([]byte(change)), content{size: 6})
		ours.Close()
		if err == nil || unsure && name == "shorter" {
			t.Errorf("%s: %v, unsure %v, want an error", name, err, unsure)
		}
	}
}

const helloLimits = `
	-> 220 mx.example
	<- EHLO me.example
	-> 250-mx.example
`

func TestLimits(t *testing.T) {
	taken := func(to ...string) string {
		s := "<- MAIL FROM:<a@a.example>\n-> 250\n"
		for _, r := range to {
			s += "<- RCPT TO:<" + r + ">\n-> 250\n"
		}
		return s + "<- DATA\n-> 354\n<- x\n<- .\n-> 250\n"
	}
	runSend(t, []sendCase{
		{"RCPTMAX", Options{}, []string{"a@x", "b@x", "c@x", "d@x", "e@x"}, "x", helloLimits + "-> 250 LIMITS FOO=1 RCPTMAX=2\n" +
			taken("a@x", "b@x") + taken("c@x", "d@x") + taken("e@x") + "<- QUIT", strings.Repeat("K 250\n", 5)},
		{"RCPTDOMAINMAX", Options{}, []string{"a@x", "b@y", "c@x", "d@y"}, "x", helloLimits + "-> 250 LIMITS RCPTDOMAINMAX=1\n" +
			taken("a@x", "c@x") + taken("b@y", "d@y") + "<- QUIT", strings.Repeat("K 250\n", 4)},
		{"not a number", Options{}, []string{"a@x", "b@x"}, "x", helloLimits + "-> 250 LIMITS RCPTMAX=0 RCPTMAX=many\n" +
			taken("a@x", "b@x") + "<- QUIT", "K 250\nK 250\n"},
		{"the connection ends before all had their turn", Options{}, []string{"a@x", "b@x"}, "x", helloLimits + "-> 250 LIMITS RCPTMAX=1\n" +
			"<- MAIL FROM:<a@a.example>\n-> 421 4.3.2 down\n<- EOF", "Z 421 4.3.2 down\nZ 421 4.3.2 down\n"},
	})
}

// MAILMAX: a new connection for each message beyond it, within one Send and over several.
func TestMailMax(t *testing.T) {
	const once = helloLimits + `-> 250 LIMITS MAILMAX=1 RCPTMAX=1
		<- MAIL FROM:<a@a.example>
		-> 250
		<- RCPT TO:<b@b.example>
		-> 250
		<- DATA
		-> 354
		<- x
		<- .
		-> 250
		<- QUIT`
	var conns []net.Conn
	ended := make(chan struct{})
	for range 3 {
		ours, theirs := socketPair(t)
		conns = append(conns, ours)
		go func() { mailtest.Dialog(t, theirs, once); theirs.Close(); ended <- struct{}{} }()
	}
	c, err := Connect(t.Context(), fromServers(conns...), Options{Helo: "me.example"})
	if err != nil {
		t.Fatal(err)
	}
	got := verdicts(c.Send(t.Context(), message.Bytes([]byte("x")), letter(t, "b@b.example", "b@b.example")))
	got += verdicts(c.Send(t.Context(), message.Bytes([]byte("x")), letter(t, "b@b.example")))
	if want := "K 250\nK 250\nK 250\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = verdicts(c.Send(t.Context(), message.Bytes([]byte("x")), letter(t, "b@b.example")))
	if want := "Z 451 4.4.1 one connection too many\n"; got != want || !errors.As(c.Err(), new(*status.Error)) {
		t.Errorf("no fourth connection: got %q, want %q", got, want)
	}
	for range 3 {
		<-ended
	}
}
