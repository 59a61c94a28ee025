package scram

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	oracle "github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
	"golang.org/x/text/unicode/bidi"
)

// The examples of RFC 4013 section 3, and what people have in their passwords.
func TestPrepare(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"I\u00ADX", "IX"},
		{"user", "user"},
		{"USER", "USER"},
		{"\u00AA", "a"},
		{"\u2168", "IX"},
		{"\u0007", "!"},
		{"\u0627\u0031", "!"},
		{"\u0627\u0031\u0628", "\u0627\u0031\u0628"},
		{"a\u0627", "!"},
		{"so\u0308ckret", "söckret"},
		{"a\u00A0b", "a b"},
		{"a\u3000b", "a b"},
		{"a\u200Bb", "ab"},
		{"a\u1806b", "ab"},
		{"pass🔑word", "pass🔑word"}, // younger than Unicode 3.2
		{"\xff", "!"},
		{"a\x00", "!"},
		{"\u200E", "!"},
		{"", ""},
	} {
		got, err := Prepare(c.in)
		if err != nil {
			got = "!"
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// Character by character we say what the library says, but for those that were not in Unicode 3.2, which it forbids, U+1806,
// which RFC 3454 maps to nothing and the library does not, and among letters from right to left those that count as letters
// from left to right only then or only now.
func TestPrepareAsLibrary(t *testing.T) {
	differ := 0
	compare := func(s string) {
		want, werr := stringprep.SASLprep.Prepare(s)
		got, err := Prepare(s)
		if (err == nil) == (werr == nil) && (err != nil || got == want) {
			return
		}
		if differ++; differ < 30 {
			t.Errorf("%+q: got %+q, %v, the library %+q, %v", s, got, err, want, werr)
		}
	}
	for r := rune(1); r <= utf8.MaxRune; r++ {
		if stringprep.TableA1.Contains(r) || r == 0x1806 || r >= 0xD800 && r <= 0xDFFF {
			continue
		}
		compare("a" + string(r) + "b")
		if (class(r) == bidi.L) == stringprep.TableD2.Contains(r) {
			compare("\u05D0" + string(r) + "\u05D0")
		}
	}
	if differ > 0 {
		t.Errorf("%d differ", differ)
	}
}

func TestDeriveAsLibrary(t *testing.T) {
	for _, password := range []string{"pencil", "söckret", "a b,c=d", strings.Repeat("x", 300)} {
		c, err := oracle.SHA256.NewClient("", password, "")
		if err != nil {
			t.Fatal(err)
		}
		want, err := c.GetStoredCredentialsWithError(oracle.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Derive(password, []byte("0123456789abcdef"), 4096)
		if err != nil || string(got.StoredKey) != string(want.StoredKey) || string(got.ServerKey) != string(want.ServerKey) {
			t.Errorf("%q: got %x, %v, want %x", password, got, err, want)
		}
		if !got.Match(password) || got.Match(password+" ") || got.Match("") {
			t.Errorf("%q does not match as it should", password)
		}
	}
}

// Our client with the library's server, and its client with our server, with and without a binding.
func TestWithLibrary(t *testing.T) {
	keys, err := Derive("söckret", []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, user, password string
		bound                bool
		ok                   bool
	}{
		{"right", "alice", "söckret", false, true},
		{"right, bound", "alice", "söckret", true, true},
		{"a name with commas", "a,l=ice", "so\u0308ckret", false, true},
		{"wrong", "alice", "sockret", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := oursToLibrary(t, keys, c.user, c.password, c.bound); (err == nil) != c.ok {
				t.Errorf("our client: %v", err)
			}
			if err := libraryToOurs(t, keys, c.user, c.password, c.bound); (err == nil) != c.ok {
				t.Errorf("our server: %v", err)
			}
		})
	}
}

var channel = oracle.ChannelBinding{Type: "tls-exporter", Data: []byte("what both see")}

func oursToLibrary(t *testing.T, k Keys, user, password string, bound bool) error {
	server, err := oracle.SHA256.NewServer(func(name string) (oracle.StoredCredentials, error) {
		if name != user {
			t.Errorf("the server has understood %q", name)
		}
		return oracle.StoredCredentials{KeyFactors: oracle.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations},
			StoredKey: k.StoredKey, ServerKey: k.ServerKey}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	talk := server.NewConversation()
	c := &Client{User: user, Password: password, Flag: "n", MostWork: 10_000}
	if bound {
		talk = server.NewConversationWithChannelBindingRequired(channel)
		c.Flag, c.Binding = "p=tls-exporter", channel.Data
	}
	first, err := c.First()
	if err != nil {
		return err
	}
	challenge, err := talk.Step(first)
	if err != nil {
		return err
	}
	final, err := c.Final(challenge)
	if err != nil {
		return err
	}
	proof, err := talk.Step(final)
	if err != nil {
		return err
	}
	return c.Verify(proof)
}

func libraryToOurs(t *testing.T, k Keys, user, password string, bound bool) error {
	client, err := oracle.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	talk := client.NewConversation()
	s := &Server{Keys: k}
	if bound {
		talk = client.NewConversationWithChannelBinding(channel)
		s.Binding = channel.Data
	}
	first, err := talk.Step("")
	if err != nil {
		return err
	}
	if s.First, err = ParseFirst(first); err != nil || s.First.User != user {
		t.Fatalf("%q: got %+v, %v", first, s.First, err)
	}
	final, err := talk.Step(s.Challenge())
	if err != nil {
		return err
	}
	proof, err := s.Verify(final)
	if err != nil {
		return err
	}
	if _, err = talk.Step(proof); err == nil && !talk.Valid() {
		err = errors.New("not valid")
	}
	return err
}

// What is not of the form of RFC 5802 section 7.
func TestMalformed(t *testing.T) {
	for _, first := range []string{"", "n", "n,", "n,,", "x,,n=a,r=b", "p=,,n=a,r=b", "p=a_b,,n=a,r=b", "n,b=c,n=a,r=b", "n,,r=b,n=a", "n,,n=a",
		"n,,n=,r=b", "n,,n=a,r=", "n,,n=a,r=b c", "n,,n=a=,r=b", "n,,n=a=2c,r=b", "n,,m=x,n=a,r=b", "n,,n=a,r=b,x", "n,,n=a,r=b,1=x"} {
		if f, err := ParseFirst(first); !errors.Is(err, ErrMalformed) {
			t.Errorf("first %q: got %+v, %v", first, f, err)
		}
	}
	if f, err := ParseFirst("y,a=b=3D,n=a=2Cb,r=c,x=y"); err != nil || f.Flag != "y" || f.Identity != "b=" || f.User != "a,b" || f.Nonce != "c" {
		t.Errorf("got %+v, %v", f, err)
	}
	k, _ := Derive("x", []byte("salt"), 1)
	proof := encode(make([]byte, 32))
	for final, want := range map[string]error{
		"":                                   ErrMalformed,
		"c=biws,r=ab":                        ErrMalformed,
		"c=biws,r=ab,p=":                     ErrMalformed,
		"c=biws,r=ab,p=AAAA":                 ErrMalformed,
		"c=biws\n,r=ab,p=" + proof:           ErrMalformed,
		"c=biws,r=ab,p=" + proof + ",x=y":    ErrMalformed,
		"c=biws,r=ab,p=" + proof:             ErrProof,
		"c=eSws,r=ab,p=" + proof:             ErrProof,
		"c=biws,r=abc,p=" + proof:            ErrProof,
		"c=biws,r=ab,x=y,p=" + proof:         ErrProof,
		"c=biws,r=ab,p=" + proof[:43] + "\n": ErrMalformed,
	} {
		first, err := ParseFirst("n,,n=a,r=a")
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{First: first, Keys: k, Nonce: "b"}
		s.Challenge()
		if say, err := s.Verify(final); !errors.Is(err, want) {
			t.Errorf("final %q: got %q, %v, want %v", final, say, err, want)
		}
	}
}

// FuzzServer: nobody without the password gets through, whatever he says.
func FuzzServer(f *testing.F) {
	f.Add("n,,n=a,r=b", "c=biws,r=bx,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("p=tls-exporter,a=b,n=a=2Cb,r=c", "c=,r=,p=")
	k, _ := Derive("x", []byte("salt"), 1)
	f.Fuzz(func(t *testing.T, first, final string) {
		m, err := ParseFirst(first)
		if err != nil {
			return
		}
		if m.User == "" || m.Nonce == "" || m.header+m.bare != first || strings.ContainsAny(m.User, "\x00\r\n") {
			t.Errorf("%q: got %+v", first, m)
		}
		s := &Server{First: m, Keys: k, Nonce: "x"}
		s.Challenge()
		if say, err := s.Verify(final); err == nil {
			t.Errorf("%q: got %q", final, say)
		}
	})
}

// FuzzPrepare: what is prepared is as it is.
func FuzzPrepare(f *testing.F) {
	f.Add("so\u0308ckret")
	f.Add("\u0627\u0031\u0628")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := Prepare(s)
		if err != nil {
			return
		}
		if twice, err := Prepare(once); err != nil || twice != once || !utf8.ValidString(once) {
			t.Errorf("%q: once %q, twice %q, %v", s, once, twice, err)
		}
	})
}
