package smtp

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestUnstuff(t *testing.T) {
	tests := []struct {
		name, in, out, rest string
		done                bool
	}{
		{"empty message", ".\r\n", "", "", true},
		{"one line", "a\r\n.\r\n", "a\r\n", "", true},
		{"commands follow", "a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n", true},
		{"stuffed", "..\r\n...x\r\n.\r\n", ".\r\n..x\r\n", "", true},
		{"dot inside", "a.\r\n.\r\n", "a.\r\n", "", true},
		{"LF . LF", "a\n.\nb\r\n", "a\n.\nb\r\n", "", false},
		{"LF . CRLF", "a\n.\r\nb\r\n", "a\n.\r\nb\r\n", "", false},
		{"CRLF . LF", "a\r\n.\nb\r\n", "a\r\n\nb\r\n", "", false},
		{"CRLF . CR", "a\r\n.\rb\r\n", "a\r\n\rb\r\n", "", false},
		{"CRLF . CR CRLF", "a\r\n.\r\r\nb\r\n", "a\r\n\r\r\nb\r\n", "", false},
		{"CRLF . CR . CRLF", "a\r\n.\r.\r\n", "a\r\n\r.\r\n", "", false},
		{"CR . CR", "a\r.\rb\r\n", "a\r.\rb\r\n", "", false},
		{"CR CRLF . CRLF", "a\r\r\n.\r\nb", "a\r\r\n", "b", true},
		{"CRLF NUL . CRLF", "a\r\n\x00.\r\n", "a\r\n\x00.\r\n", "", false},
		{"LF CR . CRLF", "a\n\r.\r\n", "a\n\r.\r\n", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var u unstuffer
			out, n, done := u.take(nil, []byte(tt.in))
			if string(out) != tt.out || tt.in[n:] != tt.rest || done != tt.done {
				t.Errorf("got %q, rest %q, done %v, want %q, rest %q, done %v", out, tt.in[n:], done, tt.out, tt.rest, tt.done)
			}
		})
	}
}

// unstuffCut unstuffs in pieces.
func unstuffCut(in []byte, next func(left int) int) (out, rest []byte, done bool) {
	var u unstuffer
	for len(in) > 0 && !done {
		k := min(next(len(in)), len(in))
		var n int
		out, n, done = u.take(out, in[:k])
		in = in[n:]
	}
	return out, in, done
}

// FuzzData: how bytes are cut changes nothing; the end is where CRLF.CRLF first stands; and what our client writes
// comes out as it went in.
func FuzzData(f *testing.F) {
	for _, seed := range []string{"", ".", "a\r\n.\r\nb", "\r\r\n.\r\n", "a\n.\n", "..\r\n.\r\r\n.\r\n", ".\r\r\n", "\x00\r.\r\n.\n"} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		whole, rest, done := unstuffCut(in, func(n int) int { return n })
		rng := rand.New(rand.NewPCG(seed, 1))
		cut, cutRest, cutDone := unstuffCut(in, func(n int) int { return 1 + rng.IntN(n) })
		if !bytes.Equal(whole, cut) || !bytes.Equal(rest, cutRest) || done != cutDone {
			t.Errorf("whole %q %q %v, cut %q %q %v", whole, rest, done, cut, cutRest, cutDone)
		}
		_, after, found := bytes.Cut(append([]byte("\r\n"), in...), []byte("\r\n.\r\n"))
		if found != done || found && !bytes.Equal(after, rest) {
			t.Errorf("end found %v with rest %q, it stands %v with rest %q", done, rest, found, after)
		}
		roundTrip(t, in)
	})
}

// roundTrip sends a message through our client's stuffing and our server's receiver.
func roundTrip(t *testing.T, in []byte) {
	var wire bytes.Buffer
	w := NewDotWriter(&wire)
	if _, err := w.Write(in); err != nil || w.Close() != nil {
		return // what SMTP cannot carry is not sent
	}
	var u unstuffer
	out, n, done := u.take(nil, wire.Bytes())
	if !done || n != wire.Len() {
		t.Fatalf("%q on the wire: end at %d of %d, %v", wire.Bytes(), n, wire.Len(), done)
	}
	r := newReceiver(1 << 20)
	r.Write(out)
	m, err := r.finish()
	if err != nil {
		t.Fatalf("%q on the wire: %v", wire.Bytes(), err)
	}
	defer m.Close()
	got, _ := io.ReadAll(m.Reader())
	want := strings.ReplaceAll(string(in), "\r\n", "\n")
	if want != "" && !strings.HasSuffix(want, "\n") {
		want += "\n" // the end mark needs a line end before it
	}
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReceiver(t *testing.T) {
	tests := []struct {
		name, in, want string // want: the text, or the violation
		max            int64
	}{
		{"text", "a\r\nb\r\n", "a\nb\n", 100},
		{"no line end", "a\r\nb", "a\nb", 100},
		{"exactly the limit", "ab\r\n", "ab\n", 4},
		{"bare LF", "a\nb", "bare LF at line 1, byte 2", 100},
		{"bare CR", "a\r\nb\rc", "bare CR at line 2, byte 2", 100},
		{"bare CR at the end", "a\r", "bare CR at line 1, byte 2", 100},
		{"CR CR LF", "a\r\r\n", "bare CR at line 1, byte 2", 100},
		{"NUL", "\x00", "NUL at line 1, byte 1", 100},
		{"a violation goes before the size", "aaaa\n", "bare LF at line 1, byte 5", 2},
		{"too big", "ab\r\nc", "Error: message size exceeds 4 octets", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for step := 1; step <= len(tt.in); step++ {
				r := newReceiver(tt.max)
				for i := 0; i < len(tt.in); i += step {
					r.Write([]byte(tt.in[i:min(i+step, len(tt.in))]))
				}
				if got := received(r); got != tt.want {
					t.Errorf("in pieces of %d: got %q, want %q", step, got, tt.want)
				}
			}
		})
	}
}

func received(r *receiver) string {
	m, err := r.finish()
	if err != nil {
		return err.Error()
	}
	defer m.Close()
	b, _ := io.ReadAll(m.Reader())
	return string(b)
}

func BenchmarkReceive(b *testing.B) {
	line := strings.Repeat("x", 74) + "\r\n"
	in := []byte(strings.Repeat(line, 13000))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		var u unstuffer
		var out []byte
		r := newReceiver(10 << 20)
		for p := in; len(p) > 0; p = p[min(len(p), 16<<10):] {
			out, _, _ = u.take(out[:0], p[:min(len(p), 16<<10)])
			r.Write(out)
		}
		m, err := r.finish()
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}
