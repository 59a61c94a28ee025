package smtp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
)

// tlsCase is a session with a server that offers TLS.
type tlsCase struct {
	name   string
	mode   TLSMode
	client *tls.Config
	server *tls.Config // its certificate is added; nil = as usual
	script string      // of the server, in TLS; "" = the handshake does not get there
	want   string      // what the verdicts or the error of Connect begin with
}

func runTLS(t *testing.T, cert tls.Certificate, tests []tlsCase) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			got := sendOver(t, fromServers(ours), Options{TLS: tt.mode, TLSConfig: tt.client})
			if tt.mode != TLSImplicit {
				mailtest.Dialog(t, theirs, offersTLS)
			}
			config := &tls.Config{}
			if tt.server != nil {
				config = tt.server.Clone()
			}
			config.Certificates = []tls.Certificate{cert}
			secure := tls.Server(theirs, config)
			err := secure.Handshake()
			if tt.script != "" && err == nil {
				mailtest.Dialog(t, secure, tt.script)
			}
			theirs.Close()
			if s := <-got; !strings.HasPrefix(s, tt.want) || tt.script != "" && err != nil {
				t.Errorf("got %q, want %q; the server's handshake: %v", s, tt.want, err)
			}
		})
	}
}

// An old server is good enough where any is, and not where TLS is demanded; the demand of a newer version is kept to.
func TestTLSVersion(t *testing.T) {
	cert, roots := pairFor(t, "mx.example")
	demanding := func(least uint16) *tls.Config {
		return &tls.Config{ServerName: "mx.example", RootCAs: roots, MinVersion: least}
	}
	old := func(most uint16) *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: most} }
	const refused = "connect: 451 4.7.5 TLS handshake: "
	runTLS(t, cert, []tlsCase{
		{"offered, TLS 1.0", TLSOffered, nil, old(tls.VersionTLS10), afterTLS, "D 550 5.1.1 no\n"},
		{"demanded, TLS 1.1", TLSRequired, demanding(tls.VersionTLS12), old(tls.VersionTLS11), "", refused},
		{"demanded, TLS 1.2", TLSRequired, demanding(tls.VersionTLS12), old(tls.VersionTLS12), afterTLS, "D 550 5.1.1 no\n"},
		{"demanded, TLS 1.2 is too old", TLSRequired, demanding(tls.VersionTLS13), old(tls.VersionTLS12), "", refused},
		{"from the first byte, TLS 1.2 is too old", TLSImplicit, demanding(tls.VersionTLS13), old(tls.VersionTLS12), "", refused},
	})
}

// The server is told which name it was called by, an address excepted (RFC 6066 section 3), also where nothing is verified.
func TestServerName(t *testing.T) {
	cert, roots := pairFor(t, "mx.example")
	for _, tt := range []struct {
		mode       TLSMode
		name, want string
	}{
		{TLSOffered, "mx.example", "mx.example"},
		{TLSRequired, "mx.example", "mx.example"},
		{TLSOffered, "192.0.2.1", ""},
	} {
		heard := "nothing"
		server := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			heard = h.ServerName
			return nil, nil
		}}
		conf := &tls.Config{ServerName: tt.name, RootCAs: roots}
		runTLS(t, cert, []tlsCase{{fmt.Sprintf("mode %d, %s", tt.mode, tt.name), tt.mode, conf, server, afterTLS, "D 550 5.1.1 no\n"}})
		if heard != tt.want {
			t.Errorf("mode %d, %s: the server heard %q, want %q", tt.mode, tt.name, heard, tt.want)
		}
	}
}

// A server that demands a certificate gets ours or nothing; that there is none is no verdict on the message.
func TestCertificateDemanded(t *testing.T) {
	cert, roots := pairFor(t, "mx.example")
	mine, mineRoots := pairFor(t, "me.example")
	conf := &tls.Config{ServerName: "mx.example", RootCAs: roots}
	with := conf.Clone()
	with.Certificates = []tls.Certificate{mine}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: mineRoots, MaxVersion: version}
		name := tls.VersionName(version)
		runTLS(t, cert, []tlsCase{
			{name + ", ours", TLSRequired, with, server, afterTLS, "D 550 5.1.1 no\n"},
			{name + ", none", TLSRequired, conf, server, "", "connect: 451 4."},
		})
	}
}

// Only a handshake that fails is a reason to go on in clear: what the server says in TLS, or that it goes away, is not.
func TestNoWayBackToClear(t *testing.T) {
	cert, _ := pairFor(t, "mx.example")
	runTLS(t, cert, []tlsCase{
		{"EHLO refused", TLSOffered, nil, nil, "<- EHLO me.example\n-> 554 no\n<- HELO me.example\n-> 554 5.7.1 no\n<- EOF",
			"connect: 554 5.7.1 no"},
		{"going away", TLSOffered, nil, nil, "<- EHLO me.example\n-> 421 4.3.2 down\n<- EOF", "connect: 421 4.3.2 down"},
		{"gone", TLSOffered, nil, nil, "<- EHLO me.example", "connect: 451 4.4.2 the server closed the connection"},
	})
}

// REQUIRETLS is said in TLS to a server that was verified and offers it, and the message goes to no other (RFC 8689 section
// 4.2.1).
func TestSendRequireTLS(t *testing.T) {
	cert, roots := pairFor(t, "mx.example")
	good, any := &tls.Config{ServerName: "mx.example", RootCAs: roots}, &tls.Config{InsecureSkipVerify: true}
	const refused = "D 550 5.7.30 REQUIRETLS: no verified TLS to a server that offers it\n"
	offers := "<- EHLO me.example\n-> 250-mx.example\n-> 250 REQUIRETLS\n"
	said := offers + "<- MAIL FROM:<a@a.example> REQUIRETLS\n-> 550 5.1.1 no\n<- QUIT"
	for _, tt := range []struct {
		name         string
		o            Options
		script, want string
	}{
		{"verified and offered", Options{TLS: TLSRequired, TLSConfig: good}, said, "D 550 5.1.1 no\n"},
		{"pinned and offered", Options{TLS: TLSRequired, TLSConfig: any, Verifies: true}, said, "D 550 5.1.1 no\n"},
		{"verified, not offered", Options{TLS: TLSRequired, TLSConfig: good}, "<- EHLO me.example\n-> 250 mx.example\n<- QUIT", refused},
		{"offered, not verified by wish", Options{TLS: TLSRequired, TLSConfig: any}, offers + "<- QUIT", refused},
		{"offered, TLS by chance", Options{TLS: TLSOffered, TLSConfig: good}, offers + "<- QUIT", refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			tt.o.Helo = "me.example"
			got := make(chan string, 1)
			e := letter(t, "b@b.example")
			e.RequireTLS = true
			go func() {
				c, err := Connect(t.Context(), fromServers(ours), tt.o)
				if err != nil {
					got <- "connect: " + err.Error()
					return
				}
				out := c.Send(t.Context(), message.Bytes([]byte("x\n")), e)
				c.Quit(t.Context())
				got <- verdicts(out)
			}()
			mailtest.Dialog(t, theirs, offersTLS)
			mailtest.Dialog(t, tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}}), tt.script)
			theirs.Close()
			if s := <-got; s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
}

// What the message needs or the options say, and the server does not have.
func TestNotOffered(t *testing.T) {
	plain := []Mechanism{canned("PLAIN", true, reciter{})}
	taken := `
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
	runSend(t, []sendCase{
		{"CHUNKING", Options{Chunking: ChunkAlways}, []string{"b@b.example"}, "x", hello + taken, "K 250\n"},
		{"HELO", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 500 what?
			<- HELO me.example
			-> 501 5.5.2 what is your name?
			<- EOF`, "connect: 501 5.5.2 what is your name?\n"},
		{"HELO, for now", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 502 what?
			<- HELO me.example
			-> 450 4.7.1 later
			<- EOF`, "connect: 450 4.7.1 later\n"},
		{"a limit of SIZE", Options{}, []string{"b@b.example"}, "x", `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 SIZE 0` + strings.Replace(taken, "a@a.example>", "a@a.example> SIZE=3", 1), "K 250\n"},
		{"a mechanism, by wish", Options{Auth: plain, AuthIf: true}, []string{"b@b.example"}, "x", hello + taken, "K 250\n"},
		{"a mechanism", Options{Auth: plain}, []string{"b@b.example"}, "x", hello + "<- EOF",
			`connect: 451 4.3.5 log in: the server offers none of our mechanisms, but ""` + "\n"},
	})
	e := letter(t, "b@b.example", "ö@b.example")
	e.Sender.Local = "ä"
	want := strings.Repeat("D 553 5.6.7 the sender or the header is not ASCII and the server offers no SMTPUTF8\n", 2)
	if got := converse(t, Options{}, e, "x", hello+"<- QUIT"); got != want {
		t.Errorf("a sender in UTF-8: got %q, want %q", got, want)
	}
}

// A proxy that refuses, or speaks otherwise, is trouble of the moment; the server hears nothing.
func TestSocksRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer []string // to each of what we say
		want   string
	}{
		{"a login is wanted", []string{"\x05\xff"}, "no acceptable authentication methods"},
		{"another version", []string{"\x04\x00"}, "unexpected protocol version"},
		{"general failure", []string{"\x05\x00", "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"}, "general SOCKS server failure"},
		{"not allowed", []string{"\x05\x00", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"}, "connection not allowed by ruleset"},
		{"no route", []string{"\x05\x00", "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"}, "host unreachable"},
		{"nobody listens", []string{"\x05\x00", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"}, "connection refused"},
		{"it goes away", []string{"\x05\x00"}, "EOF"},
		{"no proxy", []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, "unexpected protocol version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := mailtest.Serve(t, "127.0.0.1", 0, func(_ context.Context, c net.Conn) {
				for _, a := range tt.answer {
					b := make([]byte, 512)
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if strings.Contains(string(b[:n]), "EHLO") {
						t.Errorf("the proxy heard %q", b[:n])
					}
					c.Write([]byte(a))
				}
			})
			n := Network{Socks: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
			got := <-sendOver(t, n.Dialer("tcp", "mx.example:2525"), Options{})
			if !strings.HasPrefix(got, "connect: 451 4.4.1 ") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want a temporary failure with %q", got, tt.want)
			}
		})
	}
}
