package sasl

import (
	"errors"
	"strings"
	"testing"

	"pennypost/internal/status"
)

// The example of RFC 2195 section 2.
func TestCramExample(t *testing.T) {
	const challenge, want = "<1896.697170952@postoffice.reston.mci.net>", "tim b913a602c7eda7a495b4e6e7334d3890"
	c, _ := NewClient("cram-md5", "tim", "tanstaaftanstaaf")
	if say, err := c.Start(); say != nil || err != nil {
		t.Fatalf("start: got %q, %v", say, err)
	}
	if say, err := c.Next([]byte(challenge)); err != nil || string(say) != want {
		t.Errorf("got %q, %v, want %q", say, err, want)
	}
}

func TestCram(t *testing.T) {
	for name, tt := range map[string]struct {
		user, password string
		err            error
	}{
		"right":   {"alice", "söckret", nil},
		"wrong":   {"alice", "x", ErrRefused},
		"unknown": {"bob", "söckret", errWrong},
	} {
		s, _ := people(t).Start("CRAM-MD5")
		c, _ := NewClient("CRAM-MD5", tt.user, tt.password)
		if err := converse(t, c, s); !errors.Is(err, tt.err) {
			t.Errorf("%s: got %v, want %v", name, err, tt.err)
		}
	}
	a, _ := people(t).Start("CRAM-MD5")
	b, _ := people(t).Start("CRAM-MD5")
	one, _, _ := a.Next(nil)
	two, _, _ := b.Next(nil)
	if string(one) == string(two) || !strings.HasPrefix(string(one), "<") || !strings.HasSuffix(string(one), "@mx.example.org>") {
		t.Errorf("challenges %q and %q", one, two)
	}
	for _, answer := range []string{"", "alice", " x", "alice ", "alice\x00 x", "\xff x"} {
		s, _ := people(t).Start("CRAM-MD5")
		s.Next(nil)
		if _, done, err := s.Next([]byte(answer)); done || err == nil {
			t.Errorf("%q: got done %v, %v", answer, done, err)
		}
	}
	s, _ := people(t).Start("CRAM-MD5")
	if _, done, err := s.Next([]byte("alice x")); done || !errors.Is(err, ErrMalformed) {
		t.Errorf("initial response: got done %v, %v", done, err)
	}
}

func TestTokens(t *testing.T) {
	const end = "\x01\x01"
	tests := []struct {
		name, mechanism, say string
		challenge            string // before the failure
		err                  error
	}{
		{"RFC 7628 section 4.1", "OAUTHBEARER", "n,a=alice,\x01host=server.example.com\x01port=143\x01auth=Bearer good" + end, "", nil},
		{"no user", "OAUTHBEARER", "n,,\x01auth=bearer  good" + end, "", nil},
		{"refused", "OAUTHBEARER", "n,a=alice,\x01auth=Bearer bad" + end, `{"status":"invalid_token","schemes":"bearer"}`, errWrong},
		{"other user", "OAUTHBEARER", "n,a=b=2Cob,\x01auth=Bearer good" + end, `{"status":"invalid_token","schemes":"bearer"}`, errWrong},
		{"channel binding", "OAUTHBEARER", "p=tls-exporter,,\x01auth=Bearer good" + end, "", ErrMalformed},
		{"no token", "OAUTHBEARER", "n,,\x01auth=Bearer " + end, "", ErrMalformed},
		{"two tokens", "OAUTHBEARER", "n,,\x01auth=Bearer good\x01auth=Bearer good" + end, "", ErrMalformed},
		{"other scheme", "OAUTHBEARER", "n,,\x01auth=Basic good" + end, "", ErrMalformed},
		{"not ended", "OAUTHBEARER", "n,,\x01auth=Bearer good\x01", "", ErrMalformed},
		{"NUL", "OAUTHBEARER", "n,a=a\x00b,\x01auth=Bearer good" + end, "", ErrMalformed},
		{"line end in the user", "OAUTHBEARER", "n,a=a\nb,\x01auth=Bearer good" + end, "", ErrMalformed},
		{"blank in the token", "OAUTHBEARER", "n,,\x01auth=Bearer go od" + end, "", ErrMalformed},
		{"long token", "OAUTHBEARER", "n,,\x01auth=Bearer " + strings.Repeat("x", maxToken+1) + end, "", ErrMalformed},
		{"empty", "OAUTHBEARER", "", "", ErrMalformed},
		{"X", "XOAUTH2", "user=alice\x01auth=Bearer good" + end, "", nil},
		{"X refused", "XOAUTH2", "user=alice\x01auth=Bearer bad" + end, `{"status":"401","schemes":"bearer"}`, errWrong},
		{"X no user", "XOAUTH2", "user=\x01auth=Bearer good" + end, "", ErrMalformed},
		{"X in the other form", "XOAUTH2", "n,,\x01auth=Bearer good" + end, "", ErrMalformed},
	}
	for _, tt := range tests {
		for _, asked := range []bool{false, true} {
			s, _ := people(t).Start(tt.mechanism)
			if asked {
				if challenge, done, err := s.Next(nil); len(challenge) > 0 || challenge == nil || done || err != nil {
					t.Fatalf("%s: asked: got %q, %v, %v", tt.name, challenge, done, err)
				}
			}
			challenge, done, err := s.Next([]byte(tt.say))
			if string(challenge) != tt.challenge {
				t.Errorf("%s: got challenge %q, want %q", tt.name, challenge, tt.challenge)
			}
			if tt.challenge != "" && err == nil {
				_, done, err = s.Next([]byte("\x01"))
			}
			if !errors.Is(err, tt.err) || done != (tt.err == nil) {
				t.Errorf("%s: got done %v, error %v, want %v", tt.name, done, err, tt.err)
			}
			if _, done, _ := s.Next([]byte(tt.say)); done {
				t.Errorf("%s: logged in again", tt.name)
			}
		}
	}
}

// Trouble of the program that checks is not a word about the token.
func TestTokenTrouble(t *testing.T) {
	trouble := status.Errorf(status.TempFail, "no network")
	s, _ := Accounts{Token: func(_, _, _ string) error { return trouble }}.Start("XOAUTH2")
	if challenge, done, err := s.Next([]byte("user=alice\x01auth=Bearer good\x01\x01")); challenge != nil || done || !errors.Is(err, trouble) {
		t.Errorf("got %q, %v, %v", challenge, done, err)
	}
}

func TestExternal(t *testing.T) {
	for say, want := range map[string]error{"": nil, "alice": nil, "bob": ErrIdentity, "a\x00b": ErrMalformed, "\xff": ErrMalformed} {
		s, _ := people(t).Start("EXTERNAL")
		if challenge, done, err := s.Next(nil); challenge == nil || done || err != nil {
			t.Fatalf("asked: got %q, %v, %v", challenge, done, err)
		}
		if _, done, err := s.Next([]byte(say)); done != (want == nil) || !errors.Is(err, want) {
			t.Errorf("%q: got done %v, error %v, want %v", say, done, err, want)
		}
		if _, done, err := s.Next([]byte("alice")); done || err == nil {
			t.Errorf("%q: another message is taken", say)
		}
	}
}

// FuzzMechanisms: whatever a client says to whatever mechanism, only the right secret lets anybody in, and an exchange comes to
// an end.
func FuzzMechanisms(f *testing.F) {
	a := people(f)
	a.External, a.Binding = nil, nil
	a.Accept = func(string) error { return errors.New("proved to know what nobody told") }
	a.Password = func(string, string) error { return errWrong }
	a.Token = func(_, user, token string) error {
		if strings.ContainsAny(user+token, "\x00\x01\r\n") || token == "" {
			return errors.New("malformed")
		}
		return errWrong
	}
	for i := range a.Mechanisms() {
		f.Add(uint8(i), []byte("n,,n=alice,r=x"), []byte("c=biws,r=x,p=AAAA"), []byte(""))
		f.Add(uint8(i), []byte("n,a=alice,\x01auth=Bearer x\x01\x01"), []byte("\x01"), []byte("alice 00"))
		f.Add(uint8(i), []byte("\x00alice\x00x"), []byte("alice"), []byte("x"))
	}
	f.Fuzz(func(t *testing.T, which uint8, one, two, three []byte) {
		names := a.Mechanisms()
		s, _ := a.Start(names[int(which)%len(names)])
		over := false
		for _, say := range [][]byte{nil, one, two, three, one, two} {
			challenge, done, err := s.Next(say)
			if done {
				t.Fatal("logged in")
			}
			if over && err == nil && challenge != nil {
				t.Fatal("goes on after its end")
			}
			over = over || err != nil
		}
		if !over {
			t.Fatal("does not come to an end")
		}
	})
}
