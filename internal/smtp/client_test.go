package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// letter is an envelope from a@a.example to the given recipients.
func letter(t testing.TB, recipients ...string) *envelope.Envelope {
	t.Helper()
	e := &envelope.Envelope{}
	sender := "a@a.example"
	if err := e.FromArgs(&sender, recipients); err != nil {
		t.Fatal(err)
	}
	return e
}

// verdicts is a line for each outcome: K, Z or D and the reply or our own words.
func verdicts(out []Outcome) string {
	var b strings.Builder
	for _, o := range out {
		switch {
		case o.Err == nil:
			fmt.Fprintf(&b, "K %s\n", o.Reply)
		case o.Err.Class == status.Permanent:
			fmt.Fprintf(&b, "D %s\n", o.Err.Line())
		default:
			fmt.Fprintf(&b, "Z %s\n", o.Err.Line())
		}
	}
	return b.String()
}

// converse sends one message to a server that plays script and returns the verdicts.
func converse(t *testing.T, o Options, e *envelope.Envelope, text, script string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	o.Helo = "me.example"
	got := make(chan string, 1)
	go func() {
		ctx := context.Background()
		c, err := Connect(ctx, func(context.Context) (net.Conn, error) { return ours, nil }, o)
		if err != nil {
			got <- "connect: " + status.Of(err).Line() + "\n"
			return
		}
		out := c.Send(ctx, message.Bytes([]byte(text)), e)
		c.Quit(ctx)
		got <- verdicts(out)
	}()
	mailtest.Dialog(t, theirs, script)
	theirs.Close()
	return <-got
}

const hello = `
	-> 220 mx.example
	<- EHLO me.example
	-> 250 mx.example
`

const helloPipelining = `
	-> 220 mx.example
	<- EHLO me.example
	-> 250-mx.example
	-> 250-SIZE 1000
	-> 250-8BITMIME
	-> 250 PIPELINING
`

func TestSend(t *testing.T) {
	tests := []struct {
		name   string
		o      Options
		to     []string
		text   string
		script string
		want   string
	}{
		{"plain", Options{}, []string{"b@b.example"}, "S: x\n\n.dot\r\nlast", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250 ok
			<- RCPT TO:<b@b.example>
			-> 251 will forward
			<- DATA
			-> 354 go
			<- S: x
			<-
			<- ..dot
			<- last
			<- .
			-> 250 2.0.0 queued as 1
			<- QUIT
			-> 221 bye`, "K 250 2.0.0 queued as 1\n"},
		{"an empty message", Options{}, []string{"b@b.example"}, "", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- DATA
			-> 354
			<- .
			-> 250
			<- QUIT`, "K 250\n"},
		{"HELO for a server of old", Options{}, []string{"b@b.example"}, "\nx\n", `
			-> 220 mx.example
			<- EHLO me.example
			-> 502 what?
			<- HELO me.example
			-> 250 mx.example
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- DATA
			-> 451 4.3.0 not now
			<- QUIT`, "Z 451 4.3.0 not now\n"},
		{"a 4xx to EHLO is no reason for HELO", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 421 4.3.2 busy
			<- EOF`, "connect: 421 4.3.2 busy\n"},
		{"greeting refuses", Options{}, []string{"b@b.example"}, "x", `
			-> 554 no mail here
			<- EOF`, "connect: 554 5.0.0 no mail here\n"},
		{"not SMTP", Options{}, []string{"b@b.example"}, "x", `
			-> HTTP/1.1 400 Bad Request
			<- EOF`, `connect: 451 4.5.0 read reply: "HTTP/1.1 400 Bad Request" is not a reply` + "\n"},
		{"sender refused", Options{}, []string{"b@b.example", "c@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 550 5.7.1 not you
			<- QUIT`, "D 550 5.7.1 not you\nD 550 5.7.1 not you\n"},
		{"one recipient refused", Options{}, []string{"b@b.example", "c@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 550-5.1.1 no
			-> 550 5.1.1 such user
			<- RCPT TO:<c@b.example>
			-> 250
			<- DATA
			-> 354
			<- x
			<- .
			-> 250
			<- QUIT`, "D 550 5.1.1 no such user\nK 250\n"},
		{"all refused: no DATA", Options{}, []string{"b@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 450 4.2.0 greylisted
			<- QUIT`, "Z 450 4.2.0 greylisted\n"},
		{"pipelined", Options{}, []string{"b@b.example"}, "S: \xe4\n", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=6 BODY=8BITMIME
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 250
			-> 354
			<~ ^S: .$
			<- .
			-> 250 taken
			<- QUIT`, "K 250 taken\n"},
		{"pipelined, answered as it comes", Options{}, []string{"b@b.example", "c@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 550 no
			<- DATA
			-> 354
			<- x
			<- .
			-> 250
			<- QUIT`, "K 250\nD 550 5.0.0 no\n"},
		{"pipelined, all refused, DATA accepted: a lone dot", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 550 5.1.1 no
			-> 354
			<- .
			-> 554 no valid recipients
			<- QUIT`, "D 550 5.1.1 no\n"},
		{"pipelined, all refused, DATA too", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 450 4.1.1 later
			-> 503 no valid recipients
			<- QUIT`, "Z 450 4.1.1 later\n"},
		{"pipelined, MAIL refused: its reply counts, not what follows from it", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 452 4.3.1 full
			-> 503 need MAIL
			-> 503 need RCPT
			<- QUIT`, "Z 452 4.3.1 full\n"},
		{"pipelined, MAIL refused, all else accepted: an incoherent server gets nothing", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 550 5.7.1 no
			-> 250
			-> 354
			<- EOF`, "D 550 5.7.1 no\n"},
		{"a reply too many: nothing is sent", Options{}, []string{"b@b.example"}, "x", helloPipelining + `
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			=> 250\r\n250\r\n354 go\r\n250 what?\r\n
			<- EOF`, "Z 451 4.5.0 the server sent a reply too many: 250 what?\n"},
		{"421 in the middle", Options{}, []string{"b@b.example", "c@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 421 4.3.2 shutting down
			<- EOF`, "Z 421 4.3.2 shutting down\nZ 421 4.3.2 shutting down\n"},
		{"the connection ends after RCPT", Options{}, []string{"b@b.example", "c@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 550 5.1.1 no
			<- RCPT TO:<c@b.example>`, "D 550 5.1.1 no\nZ 451 4.4.2 the server closed the connection: read reply: EOF\n"},
		{"the connection ends after the final dot", Options{}, []string{"b@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- DATA
			-> 354
			<- x
			<- .`, "Z 451 4.4.2 connection lost after the end of the message, which may have been taken: the server closed the connection: read reply: EOF\n"},
		{"message refused at its end", Options{}, []string{"b@b.example", "c@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 250
			<- DATA
			-> 354
			<- x
			<- .
			-> 554 5.6.0 spam
			<- QUIT`, "D 554 5.6.0 spam\nD 554 5.6.0 spam\n"},
		{"DATA answered by 250", Options{}, []string{"b@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- DATA
			-> 250 ok
			<- QUIT`, "Z 451 4.5.0 unexpected reply to DATA: 250 ok\n"},
		{"too big by SIZE: nothing is sent", Options{}, []string{"b@b.example"}, strings.Repeat("x", 999), helloPipelining + `
			<- QUIT`, "D 552 5.3.4 the message has 1001 bytes, the server takes 1000\n"},
		{"too many recipients: a second transaction", Options{}, []string{"b@b.example", "c@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 452 4.5.3 one is enough
			<- DATA
			-> 354
			<- x
			<- .
			-> 250 first
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 250
			<- DATA
			-> 354
			<- x
			<- .
			-> 250 second
			<- QUIT`, "K 250 first\nK 250 second\n"},
		{"552 to RCPT is 452", Options{}, []string{"b@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 552 too many
			<- QUIT`, "Z 452 4.5.3 too many\n"},
		{"552 to RCPT with its own reason stays", Options{}, []string{"b@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 552 5.2.2 mailbox full
			<- QUIT`, "D 552 5.2.2 mailbox full\n"},
		{"keywords in any case", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250-pipelining
			-> 250 size
			<- MAIL FROM:<a@a.example> SIZE=3
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 250
			-> 354
			<- x
			<- .
			-> 250
			<- QUIT`, "K 250\n"},
		{"bare LF and bare code in replies", Options{}, []string{"b@b.example"}, "x", `
			=> 220\n
			<- EHLO me.example
			=> 250\n
			<- MAIL FROM:<a@a.example>
			=> 250\n
			<- RCPT TO:<b@b.example>
			=> 550 no\n
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"an endless reply", Options{}, []string{"b@b.example"}, "x", `
			=> ` + strings.Repeat(`220-x\r\n`, 256) + `
			<- EOF`, "connect: 451 4.5.0 read reply: more than 256 lines\n"},
		{"an endless line", Options{}, []string{"b@b.example"}, "x", `
			=> 220 ` + strings.Repeat(`x`, 4092) + `
			<- EOF`, "connect: 451 4.5.0 read reply: line over 2048 bytes\n"},
		{"LMTP: a reply for each, doubles too", Options{LMTP: true}, []string{"b@b.example", "x@b.example", "c@b.example", "b@b.example"}, "x", `
			-> 220 mx.example
			<- LHLO me.example
			-> 250-mx.example
			-> 250 PIPELINING
			<- MAIL FROM:<a@a.example>
			<- RCPT TO:<b@b.example>
			<- RCPT TO:<x@b.example>
			<- RCPT TO:<c@b.example>
			<- RCPT TO:<b@b.example>
			<- DATA
			-> 250
			-> 250
			-> 550 no
			-> 250
			-> 250
			-> 354
			<- x
			<- .
			-> 250 one
			-> 452 4.2.2 full
			-> 250 two
			<- QUIT`, "K 250 one\nD 550 5.0.0 no\nZ 452 4.2.2 full\nK 250 two\n"},
		{"LMTP: the connection ends between the replies", Options{LMTP: true}, []string{"b@b.example", "c@b.example"}, "x", `
			-> 220 mx.example
			<- LHLO me.example
			-> 250 mx.example
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- RCPT TO:<c@b.example>
			-> 250
			<- DATA
			-> 354
			<- x
			<- .
			-> 250 one`, "K 250 one\nZ 451 4.4.2 connection lost after the end of the message, which may have been taken: the server closed the connection: read reply: EOF\n"},
		{"LMTP: LHLO refused is no reason for HELO", Options{LMTP: true}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- LHLO me.example
			-> 500 what?
			<- EOF`, "connect: 500 5.0.0 what?\n"},
		{"bare CR: nothing is sent", Options{}, []string{"b@b.example"}, "S: x\n\na\rb\n", hello + `
			<- QUIT`, "D 554 5.6.0 bare CR in the message, line 3, byte 2\n"},
		{"NUL: nothing is sent", Options{}, []string{"b@b.example"}, "S: x\x00\n", hello + `
			<- QUIT`, "D 554 5.6.0 NUL byte in the message, line 1, byte 5\n"},
		{"a path cannot bring parameters", Options{}, []string{`"x> NOTIFY=NEVER y"@v.example`}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<"x> NOTIFY=NEVER y"@v.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"UTF-8 local part without SMTPUTF8 fails alone; a domain goes as A-label", Options{}, []string{"ä@b.example", "b@ä.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@xn--4ca.example>
			-> 250
			<- DATA
			-> 354
			<- x
			<- .
			-> 250
			<- QUIT`, "D 553 5.6.7 the address is not ASCII and the server offers no SMTPUTF8\nK 250\n"},
		{"SMTPUTF8 where it is offered", Options{}, []string{"ä@ä.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 SMTPUTF8
			<- MAIL FROM:<a@a.example> SMTPUTF8
			-> 250
			<- RCPT TO:<ä@xn--4ca.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"TLS demanded and not offered", Options{TLS: TLSRequired}, []string{"b@b.example"}, "x", hello + `
			<- EOF`, "connect: 451 4.7.4 TLS is required and not offered\n"},
		{"TLS demanded, EHLO unknown", Options{TLS: TLSRequired}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 500 what?
			<- HELO me.example
			-> 250 ok
			<- EOF`, "connect: 451 4.7.4 TLS is required and not offered\n"},
		{"TLS demanded and refused", Options{TLS: TLSRequired}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 starttls
			<- STARTTLS
			-> 454 4.7.0 not now
			<- EOF`, "connect: 451 4.7.4 TLS is required and was refused: 454 4.7.0 not now\n"},
		{"TLS offered and refused: in clear", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 STARTTLS
			<- STARTTLS
			-> 454 4.7.0 not now
			<- MAIL FROM:<a@a.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"bytes in clear behind the reply to STARTTLS", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 STARTTLS
			<- STARTTLS
			=> 220 go\r\n250-AUTH PLAIN\r\n
			<- EOF`, "connect: 451 4.7.5 STARTTLS: the server, or somebody between, sent more in clear behind its reply\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := converse(t, tt.o, letter(t, tt.to...), tt.text, tt.script)
			if got != tt.want {
				t.Errorf("got  %qwant %q", got, tt.want)
			}
		})
	}
}

func TestSendParameters(t *testing.T) {
	all := `
		-> 220 mx.example
		<- EHLO me.example
		-> 250-mx.example
		-> 250-DSN
		-> 250-SMTPUTF8
		-> 250-REQUIRETLS
		-> 250 8BITMIME
	`
	tests := []struct {
		name   string
		change func(*envelope.Envelope)
		text   string
		script string
		want   string
	}{
		{"DSN", func(e *envelope.Envelope) { e.Ret, e.EnvID, e.Notify = "hdrs", "q+2B1", []string{"success,delay"} }, "x", all + `
			<- MAIL FROM:<a@a.example> RET=HDRS ENVID=q+2B1
			-> 250
			<- RCPT TO:<b@b.example> NOTIFY=SUCCESS,DELAY
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"DSN not offered", func(e *envelope.Envelope) { e.Ret, e.EnvID, e.Notify = "HDRS", "q", []string{"NEVER"} }, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"ENVID cannot bring parameters", func(e *envelope.Envelope) { e.EnvID = "x BODY=7BIT" }, "x", all + `
			<- QUIT`, `Z 451 4.3.5 ENVID="x BODY=7BIT": not xtext of up to 100 bytes` + "\n"},
		{"NOTIFY cannot bring parameters", func(e *envelope.Envelope) { e.Notify = []string{"NEVER ORCPT=x"} }, "x", all + `
			<- QUIT`, `Z 451 4.3.5 NOTIFY="NEVER ORCPT=x": want NEVER or some of SUCCESS,FAILURE,DELAY` + "\n"},
		{"header in UTF-8", func(e *envelope.Envelope) { e.SMTPUTF8 = true }, "S: ä\n\n", all + `
			<- MAIL FROM:<a@a.example> BODY=8BITMIME SMTPUTF8
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"header in UTF-8, not offered", func(e *envelope.Envelope) { e.SMTPUTF8 = true }, "S: ä\n\n", hello + `
			<- QUIT`, "D 553 5.6.7 the sender or the header is not ASCII and the server offers no SMTPUTF8\n"},
		{"SMTPUTF8 asked for and not needed", func(e *envelope.Envelope) { e.SMTPUTF8 = true }, "S: x\n\nä", hello + `
			<- MAIL FROM:<a@a.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"REQUIRETLS in clear", func(e *envelope.Envelope) { e.RequireTLS = true }, "x", all + `
			<- QUIT`, "D 550 5.7.30 REQUIRETLS: no verified TLS to a server that offers it\n"},
		{"null sender", func(e *envelope.Envelope) { e.Sender = envelope.Address{} }, "x", hello + `
			<- MAIL FROM:<>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"bare postmaster", func(e *envelope.Envelope) { e.Recipients = []envelope.Address{{Local: "postmaster"}} }, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<postmaster>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := letter(t, "b@b.example")
			tt.change(e)
			if got := converse(t, Options{}, e, tt.text, tt.script); got != tt.want {
				t.Errorf("got  %qwant %q", got, tt.want)
			}
		})
	}
}

// A second message on one session; a transaction that was not finished is cleared away before it.
func TestSendTwice(t *testing.T) {
	ours, theirs := net.Pipe()
	got := make(chan string, 1)
	go func() {
		c, err := Connect(t.Context(), func(context.Context) (net.Conn, error) { return ours, nil }, Options{Helo: "me.example"})
		if err != nil {
			t.Error(err)
		}
		m := message.Bytes([]byte("x\n"))
		all := verdicts(c.Send(t.Context(), m, letter(t, "b@b.example"))) + verdicts(c.Send(t.Context(), m, letter(t, "c@b.example")))
		c.Quit(t.Context())
		got <- all
	}()
	mailtest.Dialog(t, theirs, helloPipelining+`
		<- MAIL FROM:<a@a.example> SIZE=3
		<- RCPT TO:<b@b.example>
		<- DATA
		-> 250
		-> 250
		-> 451 4.3.0 later
		<- RSET
		<- MAIL FROM:<a@a.example> SIZE=3
		<- RCPT TO:<c@b.example>
		<- DATA
		-> 250
		-> 250
		-> 250
		-> 354
		<- x
		<- .
		-> 250 taken
		<- QUIT
	`)
	theirs.Close()
	if s, want := <-got, "Z 451 4.3.0 later\nK 250 taken\n"; s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

// dialPipe gives the client one end of a pipe and the other to serve, which runs until the pipe ends.
func dialPipe(serve func(net.Conn)) Dialer {
	return func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(theirs)
		return ours, nil
	}
}

// Each wait has an end of its own, while a message is written too: a server that goes silent costs minutes, not for ever.
func TestDeadlines(t *testing.T) {
	say := func(c net.Conn, s string) { c.Write([]byte(s)) }
	hear := func(c net.Conn) { c.Read(make([]byte, 4096)) }
	tests := []struct {
		name  string
		serve func(net.Conn)
		total time.Duration // 0 = none
		want  time.Duration
		said  string
	}{
		{"no greeting", func(net.Conn) {}, 0, waitGreeting, "the server does not answer"},
		{"no answer to MAIL", func(c net.Conn) {
			say(c, "220 x\r\n")
			hear(c)
			say(c, "250 x\r\n")
			hear(c)
		}, 0, waitMail, "the server does not answer"},
		{"nobody reads the message", func(c net.Conn) {
			say(c, "220 x\r\n")
			for _, s := range []string{"250 x\r\n", "250 x\r\n", "250 x\r\n", "354 x\r\n"} {
				hear(c)
				say(c, s)
			}
		}, 0, waitBlock + waitLastWord, "send the message"},
		{"no answer to the final dot", func(c net.Conn) {
			say(c, "220 x\r\n")
			for _, s := range []string{"250 x\r\n", "250 x\r\n", "250 x\r\n", "354 x\r\n"} {
				hear(c)
				say(c, s)
			}
			for got := ""; !strings.HasSuffix(got, "\r\n.\r\n"); {
				b := make([]byte, 1<<16)
				n, _ := c.Read(b)
				got += string(b[:n])
			}
		}, 0, waitDot, "which may have been taken"},
		{"a total deadline goes before all", func(net.Conn) {}, time.Minute, time.Minute, "given up"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				if tt.total > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.total)
					defer cancel()
				}
				start := time.Now()
				said := ""
				c, err := Connect(ctx, dialPipe(tt.serve), Options{Helo: "me.example"})
				if err != nil {
					said = status.Of(err).Line()
				} else {
					said = verdicts(c.Send(ctx, message.Bytes([]byte("x\n")), letter(t, "b@b.example")))
					c.Quit(ctx)
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				if !strings.Contains(said, tt.said) {
					t.Errorf("got %q, want it to say %q", said, tt.said)
				}
			})
		})
	}
}

func TestCancelEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		_, err := Connect(ctx, dialPipe(func(net.Conn) {}), Options{Helo: "me.example"})
		if !errors.Is(err, context.Canceled) || status.Of(err).Class != status.Temporary {
			t.Errorf("got %v, want a temporary error that is context.Canceled", err)
		}
	})
}

// A message that can not be read to its end must not look complete.
func TestUnreadableMessageIsNotEnded(t *testing.T) {
	ours, theirs := net.Pipe()
	got := make(chan []Outcome, 1)
	go func() {
		c, err := Connect(t.Context(), func(context.Context) (net.Conn, error) { return ours, nil }, Options{Helo: "me.example"})
		if err != nil {
			t.Error(err)
		}
		m := message.New(&fading{text: []byte("first\nsecond\n")}, 13)
		got <- c.Send(t.Context(), m, letter(t, "b@b.example"))
	}()
	mailtest.Dialog(t, theirs, hello+`
		<- MAIL FROM:<a@a.example>
		-> 250
		<- RCPT TO:<b@b.example>
		-> 250
		<- DATA
		-> 354
		<- EOF
	`)
	if s := verdicts(<-got); !strings.HasPrefix(s, "Z ") || !strings.Contains(s, "disk on fire") {
		t.Errorf("got %q, want a temporary failure that names the cause", s)
	}
}

// fading can be read through once; afterwards only its first half.
type fading struct {
	text []byte
	seen bool
}

func (f *fading) ReadAt(p []byte, off int64) (int, error) {
	text := f.text
	if f.seen {
		text = text[:6]
	}
	n := 0
	if off < int64(len(text)) {
		n = copy(p, text[off:])
	}
	switch {
	case f.seen && n < len(p):
		return n, errors.New("disk on fire")
	case n < len(p):
		f.seen = true
		return n, errors.New("unexpected")
	case off+int64(n) == int64(len(f.text)):
		f.seen = true
	}
	return n, nil
}

// A refusal that was sent before the server closed the connection is the reason, not the broken pipe.
func TestRefusalInTheMiddleOfTheMessage(t *testing.T) {
	ours, theirs := net.Pipe()
	got := make(chan []Outcome, 1)
	go func() {
		c, err := Connect(t.Context(), func(context.Context) (net.Conn, error) { return &deaf{Conn: ours}, nil }, Options{Helo: "me.example"})
		if err != nil {
			t.Error(err)
		}
		got <- c.Send(t.Context(), message.Bytes(bytes.Repeat([]byte("x\n"), dataBuffer)), letter(t, "b@b.example"))
	}()
	mailtest.Dialog(t, theirs, hello+`
		<- MAIL FROM:<a@a.example>
		-> 250
		<- RCPT TO:<b@b.example>
		-> 250
		<- DATA
		-> 354
		-> 552 5.3.4 that is enough
		<- EOF
	`)
	if s, want := verdicts(<-got), "D 552 5.3.4 that is enough\n"; s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

// deaf refuses long writes, as a socket does that the other side has shut.
type deaf struct{ net.Conn }

func (d *deaf) Write(p []byte) (int, error) {
	if len(p) >= dataBuffer {
		return 0, errors.New("broken pipe")
	}
	return d.Conn.Write(p)
}

func TestLiteral(t *testing.T) {
	tests := []struct{ addr, want string }{
		{"192.0.2.1:25", "[192.0.2.1]"},
		{"[2001:db8::1]:25", "[IPv6:2001:db8::1]"},
		{"[::ffff:192.0.2.1]:25", "[192.0.2.1]"},
		{"[fe80::1%lo]:25", "[IPv6:fe80::1]"},
		{"@", "localhost"},
	}
	for _, tt := range tests {
		if got := literal(address(tt.addr)); got != tt.want || !ValidName(got) {
			t.Errorf("%s: got %q, want %q", tt.addr, got, tt.want)
		}
	}
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func TestOwnNameCannotBringCommands(t *testing.T) {
	for _, name := range []string{"a b", "a\r\nMAIL FROM:<>", "a\x00", strings.Repeat("a", 256)} {
		_, err := Connect(t.Context(), dialPipe(func(c net.Conn) { c.Write([]byte("220 x\r\n")) }), Options{Helo: name})
		if status.Of(err) == nil || status.Of(err).Exit != int(status.Config) {
			t.Errorf("%q: got %v, want a configuration error", name, err)
		}
	}
}
