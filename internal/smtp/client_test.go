package smtp

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

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

// sendCase is a message to some recipients and what the server makes of it.
type sendCase struct {
	name   string
	o      Options
	to     []string
	text   string
	script string // the server's side
	want   string // the verdicts
}

func runSend(t *testing.T, tests []sendCase) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := converse(t, tt.o, letter(t, tt.to...), tt.text, tt.script)
			if got != tt.want {
				t.Errorf("got  %qwant %q", got, tt.want)
			}
		})
	}
}

func TestSend(t *testing.T) {
	runSend(t, []sendCase{
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
	})
}

func TestSendOddMessages(t *testing.T) {
	runSend(t, []sendCase{
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
		{"too big by SIZE: nothing is sent", Options{}, []string{"b@b.example"}, strings.Repeat("x", 499) + "\n" + strings.Repeat("x", 498), helloPipelining + `
			<- QUIT`, "D 552 5.3.4 the message has 1001 bytes, the server takes 1000\n"},
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
	})
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
		{"ORCPT", func(e *envelope.Envelope) { e.ORcpt = []string{"utf-8;\u00fc@b.example"} }, "x", all + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example> ORCPT=utf-8;\x{FC}@b.example
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"ORCPT cannot bring parameters", func(e *envelope.Envelope) { e.ORcpt = []string{"utf-8;x NOTIFY=NEVER"} }, "x", all + `
			<- QUIT`, `Z 451 4.3.5 ORCPT="utf-8;x NOTIFY=NEVER": want type;address in xtext` + "\n"},
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

func TestLiteral(t *testing.T) {
	tests := []struct{ addr, want string }{
		{"192.0.2.1:25", "[192.0.2.1]"},
		{"[2001:db8::1]:25", "[IPv6:2001:db8::1]"},
		{"[::ffff:192.0.2.1]:25", "[192.0.2.1]"},
		{"[fe80::1%lo]:25", "[IPv6:fe80::1]"},
		{"@", "localhost"},
	}
	for _, tt := range tests {
		if got := Literal(address(tt.addr)); got != tt.want || !ValidName(got) {
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
