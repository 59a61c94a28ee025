package smtp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

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
	answers := func(replies ...string) func(net.Conn) { // and hears one command more
		return func(c net.Conn) {
			for _, r := range replies {
				say(c, r+"\r\n")
				hear(c)
			}
		}
	}
	const silent = "the server does not answer"
	tests := []struct {
		name  string
		serve func(net.Conn)
		total time.Duration // 0 = none
		want  time.Duration
		said  string
	}{
		{"no greeting", func(net.Conn) {}, 0, waitGreeting, silent},
		{"no answer to EHLO", answers("220 x"), 0, waitHello, silent},
		{"no answer to HELO", answers("220 x", "500 x"), 0, waitHello, silent},
		{"no answer to STARTTLS", answers("220 x", "250-x\r\n250 STARTTLS"), 0, waitHello, silent},
		{"no handshake", answers("220 x", "250-x\r\n250 STARTTLS", "220 x"), 0, waitHandshake, "TLS handshake: "},
		{"no answer to MAIL", answers("220 x", "250 x"), 0, waitMail, silent},
		{"no answer to RCPT", answers("220 x", "250 x", "250 x"), 0, waitRcpt, silent},
		{"no answer to DATA", answers("220 x", "250 x", "250 x", "250 x"), 0, waitData, silent},
		{"no answer to some of the pipeline", answers("220 x", "250-x\r\n250 PIPELINING", "250 x"), 0, waitRcpt, silent},
		{"no answer to QUIT", answers("220 x", "250 x", "250 x", "550 5.1.1 no"), 0, waitQuit, "D 550 5.1.1 no"},
		{"lines of a reply that never ends", func(c net.Conn) {
			for range 3 {
				time.Sleep(waitGreeting / 4)
				say(c, "220-x\r\n")
			}
			hear(c)
		}, 0, waitGreeting, silent},
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
				c, err := Connect(ctx, dialPipe(tt.serve), Options{Helo: "me.example", Strict: true})
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

// Servers that say what they should not, or vanish.
func TestSendOddServers(t *testing.T) {
	runSend(t, []sendCase{
		{"not SMTP", Options{}, []string{"b@b.example"}, "x", `
			-> HTTP/1.1 400 Bad Request
			<- EOF`, `connect: 451 4.5.0 read reply: "HTTP/1.1 400 Bad Request" is not a reply` + "\n"},
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
		{"DATA answered by 250", Options{}, []string{"b@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 250
			<- RCPT TO:<b@b.example>
			-> 250
			<- DATA
			-> 250 ok
			<- QUIT`, "Z 451 4.5.0 unexpected reply to DATA: 250 ok\n"},
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
	})
}
