package smtp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
)

// discarding is a Handler that takes everything and keeps nothing.
type discarding struct{}

func (discarding) Connect(context.Context, *Facts) error                { return nil }
func (discarding) Mail(context.Context, *Facts, *Mail) error            { return nil }
func (discarding) Rcpt(context.Context, *Facts, *Recipient) error       { return nil }
func (discarding) Data(context.Context, *Facts, *message.Message) error { return nil }
func (discarding) Reset(*Facts)                                         { /* nothing is kept */ }

// BenchmarkSession sends messages of several sizes over loopback, all in one session, to a handler that discards them.
func BenchmarkSession(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 100 << 20} {
		line := strings.Repeat("x", 74) + "\r\n"
		text := []byte("Subject: x\r\n\r\n" + strings.Repeat(line, size/len(line)))
		for _, way := range []string{"DATA", "BDAT"} {
			b.Run(fmt.Sprintf("%s/%dkB", way, size>>10), func(b *testing.B) { benchSession(b, way, text) })
		}
	}
}

func benchSession(b *testing.B, way string, text []byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		e := &Engine{Name: "mx.example.org", Handler: discarding{}, MaxSize: 1 << 30}
		e.Serve(context.Background(), c, envelope.Connection{Proto: "TCP", RemoteIP: "127.0.0.1"})
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	in := bufio.NewReader(c)
	say := func(want string, texts ...[]byte) {
		for _, t := range texts {
			if _, err := c.Write(t); err != nil {
				b.Fatal(err)
			}
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, want) {
				b.Fatalf("reply %q, %v, want %s", line, err, want)
			}
			if line[3] == ' ' {
				return
			}
		}
	}
	say("220")
	say("250", []byte("EHLO client.example\r\n"))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		say("250", []byte("MAIL FROM:<a@sender.example>\r\n"))
		say("250", []byte("RCPT TO:<b@example.org>\r\n"))
		if way == "BDAT" {
			say("250", fmt.Appendf(nil, "BDAT %d LAST\r\n", len(text)), text)
			continue
		}
		say("354", []byte("DATA\r\n"))
		say("250", text, []byte(".\r\n"))
	}
	c.Close()
	<-ended
}

// BenchmarkUnstuff is the data reader alone, with the usual and with very short lines.
func BenchmarkUnstuff(b *testing.B) {
	for _, length := range []int{1, 74, 998} {
		in := bytes.Repeat([]byte(strings.Repeat("x", length)+"\r\n"), (1<<20)/(length+2))
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			var out []byte
			for b.Loop() {
				var u unstuffer
				for p := in; len(p) > 0; p = p[min(len(p), readBuffer):] {
					out, _, _ = u.take(out[:0], p[:min(len(p), readBuffer)])
				}
			}
			io.Discard.Write(out)
		})
	}
}
