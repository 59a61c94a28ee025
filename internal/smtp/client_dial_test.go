package smtp

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"pennypost/internal/mailtest"
)

// socks serves one SOCKS5 client (RFC 1928) that asks for a domain name, and plays script to it.
func socks(t *testing.T, script string) (address string, asked <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	said := make(chan string, 1)
	go func() {
		defer close(said)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		hello := make([]byte, 3)
		io.ReadFull(r, hello)
		c.Write([]byte{5, 0})
		head := make([]byte, 5)
		io.ReadFull(r, head)
		rest := make([]byte, int(head[4])+2)
		io.ReadFull(r, rest)
		name := rest[:head[4]]
		said <- fmt.Sprintf("type %d %s:%d", head[3], name, int(rest[len(name)])<<8|int(rest[len(name)+1]))
		c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 25})
		mailtest.Dialog(t, c, script)
	}()
	return l.Addr().String(), said
}

// The proxy gets the name, and a secret is not sent in clear though the proxy is on this host.
func TestSocks(t *testing.T) {
	address, asked := socks(t, `
		-> 220 mx.example
		<- EHLO me.example
		-> 250-mx.example
		-> 250 AUTH PLAIN
		<- EOF`)
	n := Network{Socks: address}
	got := sendOver(t, n.Dialer("tcp", "mx.example:2525"), Options{TLS: TLSNone, Auth: []Mechanism{canned("PLAIN", true, reciter{first: []byte("x")})}})
	if s, want := <-asked, "type 3 mx.example:2525"; s != want {
		t.Errorf("asked the proxy for %q, want %q", s, want)
	}
	if s, want := <-got, "connect: 451 4.3.5 log in: PLAIN sends the secret, not without TLS that is demanded"; s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

func TestBind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := Network{Bind: netip.MustParseAddrPort("127.0.0.2:0")}
	c, err := n.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Skipf("bind to 127.0.0.2: %v", err)
	}
	defer c.Close()
	if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host != "127.0.0.2" {
		t.Errorf("connected from %s, want 127.0.0.2", host)
	}
	for family, want := range map[int]bool{4: true, 6: false} {
		c, err := Network{Family: family}.Dial(t.Context(), "tcp", l.Addr().String())
		if (err == nil) != want {
			t.Errorf("family %d: %v, want success %s", family, err, strconv.FormatBool(want))
		}
		if err == nil {
			c.Close()
		}
	}
}

// What goes before the session is written before the greeting is read; XCLIENT begins the session anew.
func TestBeforeTheSession(t *testing.T) {
	runSend(t, []sendCase{
		{"header", Options{Header: func(net.Conn) ([]byte, error) { return []byte("PROXY UNKNOWN\r\n"), nil }}, []string{"b@b.example"}, "x", `
			<- PROXY UNKNOWN
			-> 554 no
			<- EOF`, "connect: 554 5.0.0 no\n"},
		{"XCLIENT", Options{XClient: []string{"ADDR=192.0.2.1 NAME=x"}}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 XCLIENT NAME ADDR
			<- XCLIENT ADDR=192.0.2.1 NAME=x
			-> 220 mx.example
			<- EHLO me.example
			-> 250 mx.example
			<- MAIL FROM:<a@a.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"XCLIENT refused", Options{XClient: []string{"ADDR=x"}}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 XCLIENT NAME ADDR
			<- XCLIENT ADDR=x
			-> 501 bad address
			<- EOF`, "connect: 501 5.0.0 bad address\n"},
		{"XCLIENT not offered", Options{XClient: []string{"ADDR=192.0.2.1"}}, []string{"b@b.example"}, "x", hello + `
			<- EOF`, "connect: 451 4.3.5 XCLIENT is not offered to us\n"},
		{"XCLIENT not offered, optional", Options{XClient: []string{"ADDR=192.0.2.1"}, XClientIf: true}, []string{"b@b.example"}, "x", hello + `
			<- MAIL FROM:<a@a.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"XCLIENT refused, optional", Options{XClient: []string{"ADDR=x"}, XClientIf: true}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 XCLIENT NAME ADDR
			<- XCLIENT ADDR=x
			-> 550 no
			<- EOF`, "connect: 550 5.0.0 no\n"},
		{"XCLIENT after STARTTLS", Options{XClient: []string{"ADDR=192.0.2.1"}, TLS: TLSOffered, TLSConfig: &tls.Config{}}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250-XCLIENT ADDR
			-> 250 STARTTLS
			<- STARTTLS
			-> 454 not now
			<- XCLIENT ADDR=192.0.2.1
			-> 550 no
			<- EOF`, "connect: 550 5.0.0 no\n"},
		{"XCLIENT before STARTTLS", Options{XClient: []string{"ADDR=192.0.2.1"}, XClientEarly: true, TLS: TLSOffered, TLSConfig: &tls.Config{}}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250-XCLIENT ADDR
			-> 250 STARTTLS
			<- XCLIENT ADDR=192.0.2.1
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 STARTTLS
			<- STARTTLS
			-> 454 not now
			<- MAIL FROM:<a@a.example>
			-> 550 no
			<- QUIT`, "D 550 5.0.0 no\n"},
		{"XCLIENT cannot bring commands", Options{XClient: []string{"ADDR=1\r\nQUIT"}}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 XCLIENT ADDR
			<- EOF`, "connect: 451 4.3.5 XCLIENT \"ADDR=1\\r\\nQUIT\": want printable ASCII\n"},
	})
}
