package relay

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"pennypost/internal/smtp"
)

// A connection is kept for so many messages, and not for ever.
func TestReuseEnds(t *testing.T) {
	a := &host{}
	port := a.start(t, "127.0.0.2", 0, nil)
	router := byMX(t, "one.example. MX 10 a.example.\na.example. A 127.0.0.2\n", port)
	r := New(Options{Router: router, Reuse: true})
	defer r.Close()
	m, e := letterTo(t, "x@one.example")
	for i := range maxUses + 1 {
		if got := fates(r.Send(context.Background(), m, e)); !strings.HasSuffix(got, ": ok") {
			t.Fatalf("message %d: %s", i+1, got)
		}
		if n, want := a.count(), 1+i/maxUses; n != want {
			t.Fatalf("%d sessions after %d messages, want %d", n, i+1, want)
		}
	}
}

// A server that takes one message in a session and answers the next MAIL by 421 gets that one over a new connection.
func TestReuseAfter421(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	sessions := 0
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions++
			oneMessage(c)
		}
	})
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
	r := New(Options{Router: Fixed{{Name: "a", Dial: dial, Options: smtp.Options{TLS: smtp.TLSNone}}}, Reuse: true})
	m, e := letterTo(t, "x@one.example")
	for i := range 3 {
		if got := fates(r.Send(context.Background(), m, e)); got != "a: ok" {
			t.Errorf("message %d: %s", i+1, got)
		}
	}
	r.Close()
	l.Close()
	wg.Wait()
	if sessions != 3 {
		t.Errorf("%d sessions for 3 messages, want 3", sessions)
	}
}

// oneMessage is a session with such a server.
func oneMessage(c net.Conn) {
	defer c.Close()
	in, mails := bufio.NewScanner(c), 0
	fmt.Fprint(c, "220 a ready\r\n")
	for in.Scan() {
		switch verb, _, _ := strings.Cut(in.Text(), " "); verb {
		case "MAIL":
			if mails++; mails > 1 {
				fmt.Fprint(c, "421 4.7.0 enough\r\n")
				return
			}
			fmt.Fprint(c, "250 ok\r\n")
		case "DATA":
			fmt.Fprint(c, "354 go on\r\n")
			for in.Scan() && in.Text() != "." {
			}
			fmt.Fprint(c, "250 ok\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}
