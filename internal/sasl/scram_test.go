package sasl

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/scram"
)

// keysOf makes a user's keys as an office keeps them.
func keysOf(t testing.TB, password, salt string, iterations int) scram.Keys {
	t.Helper()
	k, err := scram.Derive(password, []byte(salt), iterations)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var errOffline = errors.New("the disk is gone")

// people are alice with the secret "söckret", everybody else unknown; every mechanism is there.
func people(t testing.TB) Accounts {
	alice, nobody := keysOf(t, "söckret", "0123456789abcdef", 4096), keysOf(t, "another", "fedcba9876543210", 4096)
	return Accounts{
		Password: checkAlice,
		Host:     "mx.example.org",
		Keys: func(user string) (scram.Keys, error) {
			switch user {
			case "alice":
				return alice, nil
			case "offline":
				return scram.Keys{}, errOffline
			}
			return nobody, nil
		},
		Binding: func(kind string) ([]byte, error) {
			if kind == TLSExporter || kind == TLSServerEndPoint {
				return []byte("data of " + kind), nil
			}
			return nil, errWrong
		},
		Cleartext: func(user string) (string, error) {
			if user == "alice" {
				return "söckret", nil
			}
			return "", errWrong
		},
		Accept: func(user string) error {
			if user == "alice" {
				return nil
			}
			return errWrong
		},
		Token: func(_, user, token string) error {
			if token == "good" && (user == "alice" || user == "") {
				return nil
			}
			return errWrong
		},
		External: func(user string) error {
			if user == "" || user == "alice" {
				return nil
			}
			return ErrIdentity
		},
	}
}

func newScram(user, password, nonce string) *scramClient {
	return &scramClient{Client: scram.Client{User: user, Password: password, Flag: "n", Nonce: nonce}}
}

// The exchange in RFC 7677 section 3, word for word, from both sides.
func TestScramExample(t *testing.T) {
	const (
		clientNonce = "rOprNGfwEbeRWgbNEkqO"
		serverNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
		first       = "n,,n=user,r=" + clientNonce
		challenge   = "r=" + clientNonce + serverNonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
		final       = "c=biws,r=" + clientNonce + serverNonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
		verifier    = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	keys := keysOf(t, "pencil", "[m\x99h\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81", 4096)
	server := &scramServer{
		Server:   scram.Server{Nonce: serverNonce},
		accounts: Accounts{Keys: func(string) (scram.Keys, error) { return keys, nil }, Accept: func(string) error { return nil }},
	}
	client := newScram("user", "pencil", clientNonce)
	say, err := client.Start()
	if err != nil || string(say) != first {
		t.Fatalf("start: got %q, %v, want %q", say, err, first)
	}
	for _, step := range []struct{ server, client string }{{challenge, final}, {verifier, ""}} {
		heard, done, err := server.Next(say)
		if string(heard) != step.server || done || err != nil {
			t.Fatalf("server: got %q, %v, %v, want %q", heard, done, err, step.server)
		}
		if client.Proved() {
			t.Fatal("the client takes the server's word before its proof")
		}
		if say, err = client.Next(heard); err != nil || string(say) != step.client {
			t.Fatalf("client: got %q, %v, want %q", say, err, step.client)
		}
	}
	if _, done, err := server.Next(say); !done || err != nil || !client.Proved() {
		t.Errorf("end: got done %v, %v, proved %v", done, err, client.Proved())
	}
}

// converse runs the two sides to the end.
func converse(t *testing.T, c Client, s Server) error {
	t.Helper()
	say, err := c.Start()
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	for range 6 {
		challenge, done, err := s.Next(say)
		if done || err != nil {
			return err
		}
		if say, err = c.Next(challenge); err != nil {
			return err
		}
	}
	t.Fatal("the exchange has no end")
	return nil
}

func TestScramUsers(t *testing.T) {
	tests := []struct {
		name, user, password string
		err                  error
	}{
		{"right", "alice", "söckret", nil},
		{"right after SASLprep", "alice", "so\u0308ckret", nil},
		{"wrong password", "alice", "sockret", ErrRefused},
		{"unknown user", "bob", "söckret", ErrRefused},
		{"unknown user who guesses the made-up keys", "bob", "another", errWrong},
		{"trouble", "offline", "söckret", errOffline},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := people(t)
			a.Binding = nil
			s, _ := a.Start("scram-sha-256")
			c, _ := NewClient("SCRAM-SHA-256", tt.user, tt.password)
			if err := converse(t, c, s); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if _, done, err := s.Next(nil); done || err == nil {
				t.Errorf("after the end: got done %v, error %v", done, err)
			}
		})
	}
}

// What the two sides bind to has to be the same.
func TestScramBinding(t *testing.T) {
	tests := []struct {
		name, mechanism string
		kind, data      string // of the client's binding
		err             error
	}{
		{"exporter", "SCRAM-SHA-256-PLUS", TLSExporter, "data of tls-exporter", nil},
		{"end point", "SCRAM-SHA-256-PLUS", TLSServerEndPoint, "data of tls-server-end-point", nil},
		{"another connection", "SCRAM-SHA-256-PLUS", TLSExporter, "data of the attacker", ErrRefused},
		{"type we do not have", "SCRAM-SHA-256-PLUS", "tls-unique", "x", ErrBinding},
		{"no binding with PLUS", "SCRAM-SHA-256-PLUS", "", "", ErrBinding},
		{"binding without PLUS", "SCRAM-SHA-256", TLSExporter, "data of tls-exporter", ErrBinding},
		{"no binding without PLUS", "SCRAM-SHA-256", "", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, ok := people(t).Start(tt.mechanism)
			if !ok {
				t.Fatal("not offered")
			}
			c := newScram("alice", "söckret", "")
			if tt.kind != "" {
				c.Flag, c.Binding = "p="+tt.kind, []byte(tt.data)
			}
			if err := converse(t, c, s); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

// Messages that the server must not go on with.
func TestScramMalformed(t *testing.T) {
	tests := []struct {
		name, first string
		err         error
	}{
		{"nothing", "", ErrMalformed},
		{"user who saw no PLUS though there is", "y,,n=alice,r=x", ErrBinding},
		{"another identity", "n,a=bob,n=alice,r=x", ErrIdentity},
		{"same identity", "n,a=alice,n=alice,r=x", nil},
		{"no user", "n,,n=,r=x", ErrMalformed},
		{"NUL in the user", "n,,n=al\x00ice,r=x", ErrMalformed},
		{"bad escape", "n,,n=a=2Xb,r=x", ErrMalformed},
		{"mandatory extension", "n,,m=x,n=alice,r=x", ErrMalformed},
		{"not UTF-8", "n,,n=\xff,r=x", ErrMalformed},
		{"too long", "n,,n=alice,r=" + strings.Repeat("x", maxScram), ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := people(t).Start("SCRAM-SHA-256")
			if _, done, err := s.Next([]byte(tt.first)); done || !errors.Is(err, tt.err) {
				t.Errorf("got done %v, error %v, want %v", done, err, tt.err)
			}
			if _, done, err := s.Next([]byte("c=biws,r=x,p=AAAA")); done || err == nil {
				t.Errorf("then: got done %v, error %v", done, err)
			}
		})
	}
}

// A server that wants endless work, or cannot prove itself, is not believed.
func TestScramClientIsCareful(t *testing.T) {
	for name, challenge := range map[string]string{
		"too little work":  "r=%sx,s=AAAA,i=4095",
		"too much work":    "r=%sx,s=AAAA,i=2000001",
		"even more":        "r=%sx,s=AAAA,i=99999999999999999999",
		"another nonce":    "r=x%s,s=AAAA,i=4096",
		"no salt":          "r=%sx,i=4096",
		"success at once":  "v=AAAA",
		"an error":         "e=other-error",
		"an empty message": "",
	} {
		t.Run(name, func(t *testing.T) {
			c := newScram("alice", "söckret", "abc")
			if _, err := c.Start(); err != nil {
				t.Fatal(err)
			}
			say, err := c.Next([]byte(strings.Replace(challenge, "%s", "abc", 1)))
			if name != "an empty message" && err == nil {
				t.Errorf("got %q, want an error", say)
			}
			if c.Proved() {
				t.Error("the server counts as proved")
			}
		})
	}
	c := newScram("alice", "söckret", "")
	c.Start()
	s, _ := people(t).Start("SCRAM-SHA-256")
	first, _ := c.Start()
	challenge, _, _ := s.Next(first)
	if _, err := c.Next(challenge); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next([]byte("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")); err == nil || c.Proved() {
		t.Errorf("a wrong proof of the server: got %v, proved %v", err, c.Proved())
	}
}

func TestMechanismsOfAccounts(t *testing.T) {
	all := people(t)
	want := []string{"EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2"}
	if got := all.Mechanisms(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Accounts{}).Mechanisms(); len(got) != 0 {
		t.Errorf("of nothing: %q", got)
	}
	all.Keys = nil
	if _, ok := all.Start("SCRAM-SHA-256-PLUS"); ok {
		t.Error("SCRAM without keys")
	}
}

// FuzzScramClient: no server makes the client do more than fail, and none is believed without the keys.
func FuzzScramClient(f *testing.F) {
	f.Add([]byte("r=abcx,s=AAAA,i=4096"), []byte("v=AAAA"))
	f.Add([]byte(""), []byte("e=no"))
	f.Add([]byte("r=abc,s=,i=4096,x=,"), []byte("v="))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if strings.Contains(string(first), "i=") && len(first) > 40 {
			t.Skip() // large iteration counts are slow
		}
		c := newScram("alice", "x", "abc")
		c.Start()
		for _, say := range [][]byte{first, second, first} {
			if _, err := c.Next(say); err != nil {
				break
			}
		}
		if c.Proved() {
			t.Error("proved")
		}
	})
}
