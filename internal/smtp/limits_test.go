package smtp

import (
	"fmt"
	"strings"
	"testing"
)

// What shape finds does not depend on how the bytes are cut.
func TestShape(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		header     int64
		want       string
	}{
		{"exact", "A: b\r\n\r\n12345678\r\n", 10, 8, "<nil>"},
		{"header of many fields", strings.Repeat("A: b\r\n", 10), 0, 59, "552"},
		{"header of one field", "A:" + strings.Repeat("x", 100), 0, 99, "552"},
		{"header of one folded field", "A:\r\n" + strings.Repeat("\tx\r\n", 100), 0, 99, "552"},
		{"no header at all", strings.Repeat("x", 100) + strings.Repeat("\r\nx: x", 10), 0, 99, "<nil>"},
		{"the body does not count", "\r\n" + strings.Repeat("x\r\n", 100), 0, 2, "<nil>"},
		{"line", "\r\n123456789\r\n", 10, 0, "500"},
		{"line without end", "\r\n12345678901", 10, 0, "500"},
		{"LF alone ends a header too", "\n" + strings.Repeat("x", 100), 0, 1, "<nil>"},
	}
	for _, tt := range tests {
		for cut := 1; cut <= len(tt.text); cut++ {
			h := shape{maxLine: tt.line, maxHeader: tt.header}
			for rest := tt.text; rest != ""; {
				n := min(cut, len(rest))
				h.write([]byte(rest[:n]))
				rest = rest[n:]
			}
			got := fmt.Sprint(h.err)
			if h.err != nil {
				got = fmt.Sprint(errorReply(h.err).Code)
			}
			if got != tt.want {
				t.Errorf("%s, cut into %d: got %s, want %s", tt.name, cut, got, tt.want)
			}
		}
	}
}
