package recode

import (
	"strings"
	"testing"
	"time"

	"pennypost/internal/message"
)

// A field of a million bytes in half a million lines, and parts in parts, take time in proportion to their size.
func TestHostile(t *testing.T) {
	for name, in := range map[string]string{
		"a field in many lines": "Content-Type: text/plain;\n" + strings.Repeat(" \n", 500_000) + "\n\xe4",
		"many fields":           strings.Repeat("Content-Type: a\n", 9_000) + "\n\xe4",
		"many delimiters":       "Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\n", 9_000) + "\n\xe4",
		"parts in parts":        strings.Repeat("Content-Type: multipart/mixed; boundary=a\n\n--a\n", 90) + "\n\xe4" + strings.Repeat("--b\n", 100_000),
	} {
		begun := time.Now()
		if m, err := Rewrite(message.Bytes([]byte(in)), Need{SevenBit: true}); err == nil {
			m.Close()
		} else {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}
