package pop3

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// script is a connection that reads from r and keeps what is written.
type script struct {
	net.Conn
	r   io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.r.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// play runs a session on a fresh mailbox and returns its output and the files left.
func play(t *testing.T, in io.Reader) (string, string) {
	t.Helper()
	box := newBox(t)
	c := &script{r: in}
	s := &session{ctx: t.Context(), o: Options{Login: login(t, box), Plaintext: true, Log: quiet}}
	if _, err := s.serve(c); err != nil {
		t.Error(err)
	}
	return c.out.String(), files(t, box)
}

func FuzzSession(f *testing.F) {
	const in = "USER alice\r\nPASS a secret\r\n"
	for _, s := range []string{"", "QUIT\r\n", in + "STAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n", in + "LIST\nUIDL\nTOP 1 1\n", in + "DELE 1\r\nRSET\r\nDELE 2\r\nQUIT",
		"\r\n\r\r\n\x00\n", strings.Repeat("x", 300) + "\r\n", "USER bob\r\nPASS x\r\n", "capa\r\nstls\r\nCAPA\r\n", in + strings.Repeat("X\n", 30)} {
		f.Add([]byte(s), 7)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		out, left := play(t, bytes.NewReader(in))
		if cut = max(0, min(cut, len(in))); cut > 0 {
			split, splitLeft := play(t, io.MultiReader(bytes.NewReader(in[:cut]), bytes.NewReader(in[cut:])))
			if split != out || splitLeft != left {
				t.Errorf("split at %d: got %q, %q, want %q, %q", cut, split, splitLeft, out, left)
			}
		}
		if slow, slowLeft := play(t, iotest.OneByteReader(bytes.NewReader(in))); slow != out || slowLeft != left {
			t.Errorf("byte by byte: got %q, %q, want %q, %q", slow, slowLeft, out, left)
		}
		before := files(t, newBox(t))
		if !strings.Contains(out, "+OK bye\r\n") && left != before {
			t.Errorf("without QUIT the mailbox changed to %q", left)
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"", " ", "USER a b", "pass  x ", "TOP 1  2 ", "STAT\x00", "RETR 1\t", "LIST \xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		verb, arg, err := parse(line)
		c := commands[verb]
		if err != nil || c == nil {
			return
		}
		args, ok := c.split(arg)
		if !ok {
			return
		}
		again := verb + " " + strings.Join(args, " ")
		verb2, arg2, err := parse([]byte(again))
		args2, ok := c.split(arg2)
		if verb2 != verb || err != nil || !ok || strings.Join(args2, "|") != strings.Join(args, "|") {
			t.Errorf("%q: %q %q, printed and parsed again: %q %q %v", line, verb, args, verb2, args2, err)
		}
		if len(args) < c.min || len(args) > max(c.max, c.min) {
			t.Errorf("%q: %d arguments", line, len(args))
		}
	})
}

// Whatever a message holds, the client gets it back with CRLF line ends, in as many octets as STAT said.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", ".", "..\n.", "a\r\n.\r\n", "a\rb\r", "\n\n.x\n", "A: b\n\n" + strings.Repeat("x", 70000) + "\r\n."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &script{}
		s := &session{o: Options{Log: quiet}}
		s.attach(c)
		n, err := writeText(s.w, iotest.HalfReader(bytes.NewReader(b)), -1)
		s.w.Flush()
		if err != nil || n != int64(len(b)) {
			t.Fatalf("took %d bytes of %d: %v", n, len(b), err)
		}
		text, ended := strings.CutSuffix("\r\n"+c.out.String(), "\r\n.\r\n")
		if !ended || strings.Contains(text+"\r\n", "\r\n.\r\n") {
			t.Fatalf("the dot is not at the end, or not only there: %q", text)
		}
		got := strings.TrimPrefix(strings.ReplaceAll(text, "\r\n.", "\r\n"), "\r\n")
		want := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n")
		if strings.TrimSuffix(want, "\r\n") != got {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
