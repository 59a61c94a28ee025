package smtp

import (
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
