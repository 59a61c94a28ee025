package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// canned is a mechanism with fixed words.
func canned(name string, clear bool, words reciter) Mechanism {
	return Mechanism{name, clear, func(*tls.ConnectionState, []string) Responder { again := words; return &again }}
}

type reciter struct {
	first   []byte
	answers []string
}

func (r *reciter) Start() ([]byte, error) { return r.first, nil }

func (r *reciter) Next([]byte) ([]byte, error) {
	if len(r.answers) == 0 {
		return nil, errors.New("no answer")
	}
	a := r.answers[0]
	r.answers = r.answers[1:]
	return []byte(a), nil
}

// unproved never hears from the server that it knows the password.
type unproved struct{}

func (unproved) Start() ([]byte, error)      { return []byte{}, nil }
func (unproved) Next([]byte) ([]byte, error) { return nil, errors.New("no answer") }
func (unproved) Proved() bool                { return false }

// farConn is a connection to another host, as far as its address says.
type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return address("192.0.2.1:25") }

// The secret itself goes only where TLS is demanded, where nobody can be between, or where the user does not mind.
func TestSecretInClear(t *testing.T) {
	plain := canned("PLAIN", true, reciter{first: []byte("secret")})
	scram := canned("SCRAM-SHA-256", false, reciter{first: []byte("n,,")})
	const withheld = "connect: 451 4.3.5 log in: PLAIN sends the secret, not without TLS that is demanded"
	tests := []struct {
		name      string
		far       bool
		clear     bool
		auth      []Mechanism
		want, log string
	}{
		{"on this host", false, false, []Mechanism{plain}, "connect: 451 4.3.5 log in by PLAIN: 535 no", "-> AUTH PLAIN"},
		{"to another host", true, false, []Mechanism{plain}, withheld, ""},
		{"to another host, by wish", true, true, []Mechanism{plain}, "connect: 451 4.3.5 log in by PLAIN: 535 no", "-> AUTH PLAIN"},
		{"what does not send it, before what does", true, false, []Mechanism{plain, scram}, "connect: 451 4.3.5 log in by SCRAM-SHA-256: 535 no", "-> AUTH SCRAM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			if tt.far {
				ours = farConn{ours}
			}
			var log strings.Builder
			got := sendOver(t, func(context.Context) (net.Conn, error) { return ours, nil },
				Options{TLS: TLSNone, Auth: tt.auth, ClearAuth: tt.clear, Transcript: NewTranscript(&log, ClientRole)})
			script := "-> 220 mx.example\n<- EHLO me.example\n-> 250-mx.example\n-> 250 AUTH SCRAM-SHA-256 PLAIN\n"
			if tt.log != "" {
				script += "<- AUTH ...\n-> 535 no\n"
			}
			mailtest.Dialog(t, theirs, script+"<- EOF")
			if s := <-got; s != tt.want || !strings.Contains(log.String(), tt.log) {
				t.Errorf("got %q, want %q; transcript\n%s", s, tt.want, log.String())
			}
		})
	}
}
