package dialog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func parse(t testing.TB, text string) []Step {
	t.Helper()
	steps, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func TestParseAndFormat(t *testing.T) {
	const text = `
		# a remark
		== another
		<- 220 mx...
		-> EHLO me
		<~ ^250[ -]
		<= 250 half\x00
		== TLS 1.3 TLS_AES_128_GCM_SHA256
		== TLS
		~~ 1m30s
		~> ^MAIL
		=>  \\"\r\n\u00e9
		->
		->  two blanks
		-> [20 bytes of message]
		-> [3 bytes of message, unfinished]
		<- RESET
		-> EOF`
	want := `<- 220 mx...
-> EHLO me
<~ ^250[ -]
<= 250 half\x00
== TLS 1.3 TLS_AES_128_GCM_SHA256
== TLS
~~ 1m30s
~> ^MAIL
=>  \\"\r\n\xc3\xa9
->
->  two blanks
-> [20 bytes of message]
-> [3 bytes of message]
<- RESET
-> EOF
`
	steps := parse(t, text)
	if got := string(Format(steps)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := steps[0].Number; got != 4 {
		t.Errorf("the first step is of line %d, want 4", got)
	}
	if got := len(Sessions(steps)); got != 2 {
		t.Errorf("%d sessions, want 2", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"no step":       {"\n250 ok", `line 2: "250 ok" is not a step`},
		"escape":        {`=> \q`, "invalid syntax"},
		"regexp":        {"<~ (", "missing closing"},
		"pause":         {"~~ soon", "invalid duration"},
		"long pause":    {"~~ 2h", "want 0 to 1h"},
		"not kept":      {"-> [9 bytes not shown]", "not kept"},
		"huge":          {"-> [99999999999999999999 bytes of message]", "more than"},
		"too many":      {strings.Repeat("->\n", maxSteps+1), "more than 524288 steps"},
		"too much text": {strings.Repeat("#"+strings.Repeat("x", 1<<20)+"\n", 65), "bytes of dialog"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// What was said reads back as the same bytes, and what is read and written is read alike.
func FuzzDialog(f *testing.F) {
	f.Add("-> a\n<- EOF\n~~ 2s\n== TLS x\n", []byte("EOF\r\n"))
	f.Add("=> \\x00\n<~ a.b\n-> [2 bytes of message]\n", []byte(" a\r\r\n"))
	f.Add("<= \\r\n~> x\n-> RESET", []byte("[redacted]\r\n"))
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		for _, side := range []Side{Client, Server} {
			s := Said(side, b)
			again := parse(t, s.String()+"\n")
			if len(again) != 1 || again[0].Side != side || again[0].Text != s.Text || again[0].Kind != s.Kind {
				t.Fatalf("%q became %q and that %+v", b, s, again)
			}
		}
		steps, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		written := Format(steps)
		again := parse(t, string(written))
		if !bytes.Equal(Format(again), written) || len(again) != len(steps) {
			t.Fatalf("%q was written %q and then %q", text, written, Format(again))
		}
		for i := range steps {
			steps[i].Number, again[i].Number = 0, 0
			steps[i].Match, again[i].Match = nil, nil
		}
		if !reflect.DeepEqual(steps, again) {
			t.Fatalf("got %+v, want %+v", again, steps)
		}
	})
}

// between lets two players play the same steps against each other.
func between(t *testing.T, client, server *Player, script string) (fromClient, fromServer error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client.Side, server.Side = Client, Server
	done := make(chan struct{})
	go func() {
		defer close(done)
		fromServer = server.Play(context.Background(), s, parse(t, script), false)
		s.Close()
	}()
	fromClient = client.Play(context.Background(), c, parse(t, script), false)
	c.Close()
	<-done
	return
}

func TestBothSides(t *testing.T) {
	for name, script := range map[string]string{
		"lines":      "<- 220 a\n-> EHLO me\n<- 250-x\n<- 250 y\n-> QUIT\n<- 221 z\n<- EOF",
		"raw":        "<= 22\n~~ 1ms\n<= 0 \\xff\\r\\n\n=> EH\n=> LO\\n\n<- 250 ok",
		"message":    "-> DATA\n<- 354 go\n-> [100000 bytes of message]\n-> .\n<- 250 ok\n-> EOF",
		"chunk":      "-> BDAT 7\n-> [7 bytes of message]\n<- 250 ok\n-> EOF",
		"short":      "-> [2 bytes of message]\n-> .\n-> [0 bytes of message]\n-> .\n<- 250",
		"reset":      "<- 220 a\n-> x\n<- RESET",
		"long lines": "-> " + strings.Repeat("x", 100000) + "\n<- 500 " + strings.Repeat("y", 100000),
	} {
		t.Run(name, func(t *testing.T) {
			if c, s := between(t, &Player{}, &Player{}, script); c != nil || s != nil {
				t.Errorf("client: %v\nserver: %v", c, s)
			}
		})
	}
}

// A secret is found anew by the client; the server takes any. Challenges need not be as they were.
func TestRedacted(t *testing.T) {
	var asked []string
	client := &Player{Secret: func(mechanism string, first bool, challenge string) (string, error) {
		asked = append(asked, fmt.Sprint(mechanism, first, challenge))
		return "c2VjcmV0", nil
	}}
	c, s := between(t, client, &Player{}, "<- 220 a\n-> AUTH SCRAM-SHA-256 [redacted]\n<- 334 abc\n-> [redacted]\n<- 235 yes\n"+
		"-> auth CRAM-MD5\n<- 334 def\n-> [redacted]\n<- 235 yes\n-> [redacted]\n<- 500 that was no secret any more")
	want := []string{"SCRAM-SHA-256true220 a", "SCRAM-SHA-256false334 abc", "CRAM-MD5false334 def"}
	if c != nil || s != nil || !reflect.DeepEqual(asked, want) {
		t.Errorf("client %v, server %v, asked %q, want %q", c, s, asked, want)
	}
	for script, want := range map[string]string{
		"-> AUTH CRAM-MD5\n<- 334 abc\n-> [redacted]": "",
		"-> AUTH CRAM-MD5\n<- 334 abc\n-> known":      "want \"334 abc\"",
	} {
		client.Side = Client
		if err := failure(t, client, "334 other\r\n", script); err == nil && want != "" || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", script, err, want)
		}
	}
	c, _ = between(t, &Player{}, &Player{}, "-> AUTH PLAIN [redacted]\n<- 235 yes")
	if c == nil || !strings.Contains(c.Error(), "the secret was not kept") {
		t.Errorf("got %v, want that there is no secret", c)
	}
}

// failure plays a script against what a peer says.
func failure(t *testing.T, p *Player, said, script string) error {
	t.Helper()
	c, peer := net.Pipe()
	go io.WriteString(peer, said)
	go io.Copy(io.Discard, peer)
	defer c.Close()
	defer peer.Close()
	return p.Play(t.Context(), c, parse(t, script), false)
}

func TestMismatch(t *testing.T) {
	err := failure(t, &Player{}, "250 no\r\n", "# x\n<- 250 yes")
	var m *Mismatch
	if !errors.As(err, &m) || m.Step.Number != 2 || err.Error() != "line 2:\n got \"250 no\"\nwant \"250 yes\"" {
		t.Errorf("got %v", err)
	}
	for script, want := range map[string]string{
		"<= 250\\r\\n":                  `got "250 n"`,
		"<~ yes":                        "a line that matches yes",
		"<- EOF":                        "want the end",
		"<- 250 no\n<~ x":               "deadline",
		"~> x":                          "not said",
		"== TLS":                        "no TLS here",
		"-> [1 bytes of message]\n-> .": "cannot end",
	} {
		if err := failure(t, &Player{Patience: 50 * time.Millisecond}, "250 no\r\n", script); err == nil || !strings.Contains(err.Error(), want) &&
			!strings.Contains(err.Error(), "timeout") {
			t.Errorf("%q: got %v, want %q", script, err, want)
		}
	}
}

// The name that a server gives to a message is another each time; other words are not.
func TestAnyName(t *testing.T) {
	for _, tt := range []struct{ script, said, want string }{
		{"-> .\n<- 250 2.0.0 queued as 1", "250 2.0.0 queued as 2\r\n", ""},
		{"-> BDAT 0 LAST\n<- 250 queued as 1", "250 queued as 2\r\n", ""},
		{"-> .\n<- 250 2.0.0 queued as 1", "250 2.6.0 queued as 1\r\n", "got"},
		{"-> .\n<~ queued as 1", "250 2.0.0 queued as 2\r\n", "got"},
		{"-> .\n<- 250 1\n-> NOOP\n<- 250 3", "250 2\r\n250 4\r\n", "line 4"},
		{"-> .\n-> QUIT\n<- 250 1\n<- 221 3", "250 2\r\n221 4\r\n", ""},
	} {
		err := failure(t, &Player{AnyName: true}, tt.said, tt.script)
		if got := fmt.Sprint(err); (err == nil) != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%q: got %v, want %q", tt.script, err, tt.want)
		}
	}
}

// What was said in clear behind the reply to STARTTLS ends the play.
func TestInjectedBeforeTLS(t *testing.T) {
	p := &Player{StartTLS: func(context.Context, net.Conn) (net.Conn, error) { return nil, errors.New("a handshake was begun") }}
	if err := failure(t, p, "220 go\r\n250 injected\r\n", "<- 220 go\n== TLS"); err == nil || !strings.Contains(err.Error(), "said more in clear") {
		t.Errorf("got %v", err)
	}
}

func TestPauseAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := net.Pipe()
		defer peer.Close()
		defer c.Close()
		begin := time.Now()
		if err := new(Player).Play(t.Context(), c, parse(t, "~~ 10m"), false); err != nil || time.Since(begin) != 10*time.Minute {
			t.Errorf("took %v, %v", time.Since(begin), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, script := range []string{"~~ 1h", "<- 220"} {
			if err := new(Player).Play(ctx, c, parse(t, script), false); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want that it was given up", script, err)
			}
		}
	})
}

// The connection under TLS can be found, to be reset.
func TestBottom(t *testing.T) {
	c, peer := net.Pipe()
	defer peer.Close()
	p := Player{conn: tls.Client(c, &tls.Config{})}
	if p.bottom() != c {
		t.Error("another connection")
	}
}
