package sasl

import (
	"errors"
	"testing"
)

var errWrong = errors.New("wrong")

func checkAlice(user, password string) error {
	if user == "alice" && password == "söckret" {
		return nil
	}
	return errWrong
}

func TestServer(t *testing.T) {
	tests := []struct {
		name, mechanism string
		say             []string // "-" stands for no initial response
		challenges      []string
		err             error
	}{
		{"plain initial", "PLAIN", []string{"\x00alice\x00söckret"}, nil, nil},
		{"plain asked", "plain", []string{"-", "\x00alice\x00söckret"}, []string{""}, nil},
		{"plain identity is user", "PLAIN", []string{"alice\x00alice\x00söckret"}, nil, nil},
		{"plain other identity", "PLAIN", []string{"bob\x00alice\x00söckret"}, nil, ErrIdentity},
		{"plain wrong", "PLAIN", []string{"\x00alice\x00x"}, nil, errWrong},
		{"plain no user", "PLAIN", []string{"\x00\x00söckret"}, nil, ErrMalformed},
		{"plain no password", "PLAIN", []string{"\x00alice\x00"}, nil, ErrMalformed},
		{"plain two parts", "PLAIN", []string{"alice\x00söckret"}, nil, ErrMalformed},
		{"plain four parts", "PLAIN", []string{"\x00alice\x00söckret\x00"}, nil, ErrMalformed},
		{"plain not UTF-8", "PLAIN", []string{"\x00alice\x00\xff"}, nil, ErrMalformed},
		{"plain empty", "PLAIN", []string{""}, nil, ErrMalformed},
		{"plain asked, empty answer", "PLAIN", []string{"-", ""}, []string{""}, ErrMalformed},
		{"login", "LOGIN", []string{"-", "alice", "söckret"}, []string{"Username:", "Password:"}, nil},
		{"login initial", "LOGIN", []string{"alice", "söckret"}, []string{"Password:"}, nil},
		{"login wrong", "LOGIN", []string{"alice", "x"}, []string{"Password:"}, errWrong},
		{"login empty user", "LOGIN", []string{"-", ""}, []string{"Username:"}, ErrMalformed},
		{"login NUL", "LOGIN", []string{"alice", "söck\x00ret"}, []string{"Password:"}, ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, ok := NewServer(tt.mechanism, checkAlice)
			if !ok {
				t.Fatalf("no mechanism %q", tt.mechanism)
			}
			for i, say := range tt.say {
				in := []byte(say)
				if say == "-" {
					in = nil
				}
				challenge, done, err := s.Next(in)
				if i < len(tt.challenges) {
					if err != nil || done || string(challenge) != tt.challenges[i] {
						t.Fatalf("step %d: got challenge %q, done %v, error %v, want challenge %q", i, challenge, done, err, tt.challenges[i])
					}
					continue
				}
				if !errors.Is(err, tt.err) || done != (tt.err == nil) {
					t.Fatalf("end: got done %v, error %v, want error %v", done, err, tt.err)
				}
			}
			if _, done, err := s.Next([]byte("\x00alice\x00söckret")); done && tt.err != nil || err == nil {
				t.Errorf("after the end: got done %v, error %v, want an error", done, err)
			}
		})
	}
}

func TestUnknownMechanism(t *testing.T) {
	for _, mechanism := range []string{"", "CRAM-MD5", "SCRAM-SHA-256", "EXTERNAL", "XOAUTH2", "GSSAPI"} {
		if _, ok := NewServer(mechanism, checkAlice); ok {
			t.Errorf("server for %s", mechanism)
		}
	}
	if _, ok := NewClient("", "a", "b"); ok {
		t.Error("client for no mechanism")
	}
}

// TestBothSides runs every mechanism's client against its server.
func TestBothSides(t *testing.T) {
	for _, mechanism := range Mechanisms() {
		for _, password := range []string{"söckret", "wrong"} {
			c, _ := NewClient(mechanism, "alice", password)
			s, _ := NewServer(mechanism, checkAlice)
			say, err := c.Start()
			if err != nil {
				t.Fatalf("%s: start: %v", mechanism, err)
			}
			for {
				challenge, done, err := s.Next(say)
				if done || err != nil {
					if done != (password == "söckret") {
						t.Errorf("%s with %q: got done %v, error %v", mechanism, password, done, err)
					}
					break
				}
				if say, err = c.Next(challenge); err != nil {
					t.Fatalf("%s: answer to %q: %v", mechanism, challenge, err)
				}
			}
		}
	}
}

// A server that asks PLAIN something is not one to send the password to.
func TestPlainClientKeepsSecret(t *testing.T) {
	c, _ := NewClient("PLAIN", "alice", "söckret")
	if got, err := c.Next([]byte("Password:")); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %q, %v, want %v", got, err, ErrMalformed)
	}
}

// FuzzServer: only the right user and password, in a well-formed exchange, are let in.
func FuzzServer(f *testing.F) {
	f.Add(true, []byte("\x00alice\x00söckret"), []byte(""))
	f.Add(false, []byte("alice"), []byte("söckret"))
	f.Fuzz(func(t *testing.T, plain bool, first, second []byte) {
		mechanism := "LOGIN"
		if plain {
			mechanism = "PLAIN"
		}
		checked := false
		s, _ := NewServer(mechanism, func(user, password string) error {
			if bad(user) || bad(password) {
				t.Errorf("check called with %q, %q", user, password)
			}
			checked = true
			return checkAlice(user, password)
		})
		for _, say := range [][]byte{first, second, first} {
			_, done, err := s.Next(say)
			if done && !checked {
				t.Error("logged in without a check")
			}
			if done || err != nil {
				return
			}
		}
	})
}
