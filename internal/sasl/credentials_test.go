package sasl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// run takes client and server to the end of their exchange.
func run(t *testing.T, c Client, s Server) error {
	t.Helper()
	say, err := c.Start()
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	for range 5 {
		challenge, done, err := s.Next(say)
		if done || err != nil {
			return err
		}
		if say, err = c.Next(challenge); err != nil {
			t.Fatalf("answer to %q: %v", challenge, err)
		}
	}
	t.Fatal("no end")
	return nil
}

func TestTokenClient(t *testing.T) {
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		for _, user := range []string{"alice@example.org", "a,b=c"} {
			for _, token := range []string{"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "wrong"} {
				a := Accounts{Token: func(m, u, given string) error {
					if m != mechanism || u != user {
						t.Errorf("%s: checked %q of %q, want %q", m, given, u, user)
					}
					if given == "wrong" {
						return ErrRefused
					}
					return nil
				}}
				s, _ := a.Start(mechanism)
				c, _ := Credentials{User: user, Secret: token}.Client(mechanism)
				if err := run(t, c, s); (err == nil) != (token != "wrong") {
					t.Errorf("%s with %q: %v", mechanism, token, err)
				}
				if _, err := c.Next([]byte("more?")); token == "wrong" && !errors.Is(err, ErrMalformed) {
					t.Errorf("%s: a second reason was answered: %v", mechanism, err)
				}
			}
		}
		for name, bad := range map[string]Credentials{
			"a token of two words": {User: "a", Secret: "b c"}, "no token": {User: "a"}, "a token with an end": {User: "a", Secret: "b\x01auth=x"},
			"a user with an end": {User: "a\x01", Secret: "b"}, "a long token": {User: "a", Secret: strings.Repeat("x", maxToken+1)},
		} {
			c, _ := bad.Client(mechanism)
			if _, err := c.Start(); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %s: %v, want %v", mechanism, name, err, ErrMalformed)
			}
		}
	}
}

func TestExternalClient(t *testing.T) {
	for _, user := range []string{"", "alice"} {
		got := "nobody"
		s, _ := Accounts{External: func(u string) error { got = u; return nil }}.Start("EXTERNAL")
		c, _ := Credentials{User: user}.Client("external")
		if err := run(t, c, s); err != nil || got != user {
			t.Errorf("as %q: %v, the server heard %q", user, err, got)
		}
		if _, err := c.Next([]byte("who?")); !errors.Is(err, ErrMalformed) {
			t.Errorf("a challenge was answered: %v", err)
		}
	}
}

// connected is the client's view of a TLS connection.
func connected(t *testing.T, version uint16) *tls.ConnectionState {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	go server.Handshake()
	client := tls.Client(ours, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, MinVersion: tls.VersionTLS12})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	state := client.ConnectionState()
	return &state
}

// What the client says of channel binding follows from the connection and from what the server offers.
func TestBindingFlag(t *testing.T) {
	const plus, plain = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		state := connected(t, version)
		for _, tt := range []struct {
			name, mechanism string
			state           *tls.ConnectionState
			offered         []string
			want            string
		}{
			{"bound", plus, state, []string{plus, plain}, "p=tls-exporter,,"},
			{"could be bound, the server seems not to", plain, state, []string{plain}, "y,,"},
			{"not bound by wish", plain, state, []string{plus, plain}, "n,,"},
			{"in clear", plain, nil, []string{plain}, "n,,"},
			{"bound in clear", plus, nil, []string{plus, plain}, ""},
		} {
			c, ok := Credentials{User: "alice", Secret: "x", TLS: tt.state, Offered: tt.offered}.Client(tt.mechanism)
			if ok != (tt.want != "") {
				t.Errorf("%s: a client: %v", tt.name, ok)
			}
			if !ok {
				continue
			}
			if say, err := c.Start(); err != nil || !strings.HasPrefix(string(say), tt.want) {
				t.Errorf("%s: said %q, %v, want %q...", tt.name, say, err, tt.want)
			}
		}
	}
}
