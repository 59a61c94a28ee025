package smtp

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestNormalizer(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing to do", "a\r\nb\r\n", "a\r\nb\r\n"},
		{"bare LF", "a\nb\n", "a\r\nb\r\n"},
		{"LF first", "\n\n", "\r\n\r\n"},
		{"bare CR stays", "a\rb\n", "a\rb\r\n"},
		{"CR CR LF", "a\r\r\nb", "a\r\r\nb"},
		{"stuffed", "a\n..b\n.c", "a\r\n.b\r\nc"},
		{"a dot inside", "a.\n", "a.\r\n"},
		{"no end of data", "a\n.\r\nb\n.\nc", "a\r\n\r\nb\r\n\r\nc"},
		{"a dot after CRLF is the unstuffer's", "a\r\n.b", "a\r\n.b"},
	}
	for _, tt := range tests {
		for cut := range len(tt.in) + 1 {
			n := &normalizer{stuffed: true}
			got := string(n.take([]byte(tt.in[:cut])))
			got += string(n.take([]byte(tt.in[cut:])))
			if got != tt.want {
				t.Errorf("%s, cut at %d: got %q, want %q", tt.name, cut, got, tt.want)
			}
		}
	}
	if got := string((&normalizer{}).take([]byte("a\n.b"))); got != "a\r\n.b" {
		t.Errorf("without added dots: got %q", got)
	}
}

// FuzzNormalizer: how bytes are cut changes nothing, no bare LF is left, and what has none stays as it is.
func FuzzNormalizer(f *testing.F) {
	for _, seed := range []string{"", "\n", "a\nb\n", "a\r\n.b\n..c\n.\r\n", "\r\r\n\n", ".\n.\n"} {
		f.Add([]byte(seed), uint64(1), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, stuffed bool) {
		whole := string((&normalizer{stuffed: stuffed}).take(in))
		rng := rand.New(rand.NewPCG(seed, 1))
		n := &normalizer{stuffed: stuffed}
		var cut []byte
		for p := in; len(p) > 0; {
			k := 1 + rng.IntN(len(p))
			cut = append(cut, n.take(p[:k])...)
			p = p[k:]
		}
		if whole != string(cut) {
			t.Errorf("whole %q, cut %q", whole, cut)
		}
		if strings.Contains(strings.ReplaceAll(whole, "\r\n", ""), "\n") {
			t.Errorf("a bare LF is left in %q", whole)
		}
		if bare := bytes.Contains(bytes.ReplaceAll(in, []byte("\r\n"), nil), []byte("\n")); !bare && whole != string(in) {
			t.Errorf("%q became %q", in, whole)
		}
	})
}
