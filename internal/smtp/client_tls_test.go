package smtp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// pairFor is a self-signed certificate and the roots that make it valid.
func pairFor(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// socketPair is a connection over the loopback. A failed handshake needs its buffers: both sides write at once.
func socketPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

const offersTLS = `
	-> 220 mx.example
	<- EHLO me.example
	-> 250-mx.example
	-> 250-SIZE 1
	-> 250 STARTTLS
	<- STARTTLS
	-> 220 go
`

// afterTLS is a session in which nothing said before TLS counts: no SIZE any more.
const afterTLS = `
	<- EHLO me.example
	-> 250 mx.example
	<- MAIL FROM:<a@a.example>
	-> 250
	<- RCPT TO:<b@b.example>
	-> 550 5.1.1 no
	<- QUIT
`

// fromServers dials the connections one after the other.
func fromServers(conns ...net.Conn) Dialer {
	return func(context.Context) (net.Conn, error) {
		if len(conns) == 0 {
			return nil, errors.New("one connection too many")
		}
		c := conns[0]
		conns = conns[1:]
		return c, nil
	}
}

// sendOver runs a client in the background; its verdicts come when the session is over.
func sendOver(t *testing.T, dial Dialer, o Options) <-chan string {
	o.Helo = "me.example"
	e, got := letter(t, "b@b.example"), make(chan string, 1)
	go func() {
		c, err := Connect(context.Background(), dial, o)
		if err != nil {
			got <- "connect: " + status.Of(err).Line()
			return
		}
		out := c.Send(context.Background(), message.Bytes([]byte("x\n")), e)
		c.Quit(context.Background())
		got <- verdicts(out)
	}()
	return got
}

func TestTLS(t *testing.T) {
	cert, roots := pairFor(t, "mx.example")
	want := "D 550 5.1.1 no\n"
	good := &tls.Config{ServerName: "mx.example", RootCAs: roots}
	tests := []struct {
		name string
		mode TLSMode
		conf *tls.Config
		want string
	}{
		{"offered, any certificate", TLSOffered, nil, want},
		{"demanded, verified", TLSRequired, good, want},
		{"from the first byte", TLSImplicit, good, want},
		{"demanded, not verified by wish", TLSRequired, &tls.Config{InsecureSkipVerify: true}, want},
		{"demanded, wrong name", TLSRequired, &tls.Config{ServerName: "other.example", RootCAs: roots}, "x509"},
		{"demanded, unknown root", TLSRequired, &tls.Config{ServerName: "mx.example", RootCAs: x509.NewCertPool()}, "x509"},
		{"from the first byte, wrong name", TLSImplicit, &tls.Config{ServerName: "other.example", RootCAs: roots}, "x509"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			got := sendOver(t, fromServers(ours), Options{TLS: tt.mode, TLSConfig: tt.conf})
			if tt.mode != TLSImplicit {
				mailtest.Dialog(t, theirs, offersTLS)
			}
			secure := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}})
			if tt.want != want {
				secure.Handshake()
				theirs.Close()
				if s := <-got; !strings.HasPrefix(s, "connect: 451 4.7.5 TLS handshake: ") || !strings.Contains(s, tt.want) {
					t.Errorf("got %q, want a temporary failure of the handshake with %q", s, tt.want)
				}
				return
			}
			if tt.mode == TLSImplicit {
				mailtest.Dialog(t, secure, "-> 220 mx.example")
			}
			mailtest.Dialog(t, secure, afterTLS)
			theirs.Close()
			if s := <-got; s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		})
	}
}

// A handshake that fails is followed by one connection in clear when TLS was not demanded, and by none when it was.
func TestFailedHandshake(t *testing.T) {
	type how struct {
		TLSMode
		strict bool
	}
	for _, mode := range []how{{TLSOffered, false}, {TLSOffered, true}, {TLSRequired, false}} {
		ours1, theirs1 := socketPair(t)
		ours2, theirs2 := socketPair(t)
		var log bytes.Buffer
		got := sendOver(t, fromServers(ours1, ours2), Options{TLS: mode.TLSMode, Strict: mode.strict, TLSConfig: &tls.Config{ServerName: "mx.example"}, Transcript: NewTranscript(&log, ClientRole)})
		mailtest.Dialog(t, theirs1, offersTLS)
		go func() { theirs1.Read(make([]byte, 4096)); theirs1.Write([]byte("250 what?\r\n")); theirs1.Close() }()
		if mode.strict || mode.TLSMode == TLSRequired {
			if s := <-got; !strings.HasPrefix(s, "connect: 451 4.7.5 TLS handshake") {
				t.Errorf("demanded: got %q, want a failed handshake", s)
			}
			continue
		}
		mailtest.Dialog(t, theirs2, `
			-> 220 mx.example
			<- EHLO me.example
			-> 250-mx.example
			-> 250 STARTTLS
			<- MAIL FROM:<a@a.example>
			-> 550 5.7.1 no
			<- QUIT
		`)
		theirs2.Close()
		if s, want := <-got, "D 550 5.7.1 no\n"; s != want {
			t.Errorf("offered: got %q, want %q", s, want)
		}
		if !strings.Contains(log.String(), "once more, in clear\n") {
			t.Errorf("transcript does not tell of the change:\n%s", log.String())
		}
	}
}

func TestLogin(t *testing.T) {
	cert, roots := pairFor(t, "mx.example")
	plain := canned("PLAIN", true, reciter{first: []byte("\x00u\x00secret")})
	ask := canned("LOGIN", true, reciter{answers: []string{"u", "secret"}})
	b64 := base64.StdEncoding.EncodeToString
	tests := []struct {
		name   string
		auth   []Mechanism
		script string
		want   string
	}{
		{"initial response", []Mechanism{plain, ask}, `
			-> 250 auth login plain
			<- AUTH PLAIN ` + b64([]byte("\x00u\x00secret")) + `
			-> 235 2.7.0 welcome`, "D 550 5.7.1 no\n"},
		{"challenges", []Mechanism{ask}, `
			-> 250 AUTH LOGIN
			<- AUTH LOGIN
			-> 334 VXNlcm5hbWU6
			<- ` + b64([]byte("u")) + `
			-> 334 UGFzc3dvcmQ6
			<- ` + b64([]byte("secret")) + `
			-> 235 2.7.0 welcome`, "D 550 5.7.1 no\n"},
		{"refused: no further line", []Mechanism{plain}, `
			-> 250 AUTH PLAIN
			<- AUTH PLAIN ...
			-> 535 5.7.8 wrong
			<- EOF`, "connect: 451 4.3.5 log in by PLAIN: 535 5.7.8 wrong"},
		{"a challenge that is not base64 is cancelled", []Mechanism{ask}, `
			-> 250 AUTH LOGIN
			<- AUTH LOGIN
			-> 334 !
			<- *
			-> 501 cancelled
			<- EOF`, "connect: 451 4.3.5 log in by LOGIN: illegal base64 data at input byte 0"},
		{"a challenge too many is cancelled", []Mechanism{plain}, `
			-> 250 AUTH PLAIN
			<- AUTH PLAIN ...
			-> 334 AAAA
			<- *
			-> 501 cancelled
			<- EOF`, "connect: 451 4.3.5 log in by PLAIN: no answer"},
		{"an initial response too long for the line waits for the challenge", []Mechanism{canned("PLAIN", true, reciter{first: bytes.Repeat([]byte("x"), 400)})}, `
			-> 250 AUTH PLAIN
			<- AUTH PLAIN
			-> 334 
			<- ` + b64(bytes.Repeat([]byte("x"), 400)) + `
			-> 235 2.7.0 welcome`, "D 550 5.7.1 no\n"},
		{"success without proof is none", []Mechanism{{"SCRAM-SHA-256", false, func(*tls.ConnectionState, []string) Responder { return unproved{} }}}, `
			-> 250 AUTH SCRAM-SHA-256
			<- AUTH SCRAM-SHA-256 =
			-> 235 2.7.0 welcome
			<- EOF`, "connect: 451 4.3.5 log in by SCRAM-SHA-256: the server says yes and has not shown that it knows the password"},
		{"a mechanism that the connection cannot do is passed over", []Mechanism{{"SCRAM-SHA-256-PLUS", false, func(*tls.ConnectionState, []string) Responder { return nil }}, ask}, `
			-> 250 AUTH SCRAM-SHA-256-PLUS LOGIN
			<- AUTH LOGIN
			-> 535 5.7.8 no
			<- EOF`, "connect: 451 4.3.5 log in by LOGIN: 535 5.7.8 no"},
		{"no mechanism of ours", []Mechanism{plain}, `
			-> 250 AUTH GSSAPI
			<- EOF`, `connect: 451 4.3.5 log in: the server offers none of our mechanisms, but "GSSAPI"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			var log bytes.Buffer
			o := Options{TLS: TLSRequired, TLSConfig: &tls.Config{ServerName: "mx.example", RootCAs: roots}, Auth: tt.auth, Transcript: NewTranscript(&log, ClientRole)}
			got := sendOver(t, fromServers(ours), o)
			mailtest.Dialog(t, theirs, offersTLS)
			secure := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}})
			script := "<- EHLO me.example\n-> 250-mx.example" + tt.script
			if !strings.HasSuffix(tt.script, "EOF") {
				script += "\n<- MAIL FROM:<a@a.example>\n-> 550 5.7.1 no\n<- QUIT"
			}
			mailtest.Dialog(t, secure, script)
			theirs.Close()
			if s := <-got; s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
			for _, secret := range []string{b64([]byte("\x00u\x00secret")), b64([]byte("secret"))} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("transcript shows a secret:\n%s", log.String())
				}
			}
		})
	}
}
