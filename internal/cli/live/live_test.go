package live

import (
	"bytes"
	"testing"
	"time"
)

func TestShow(t *testing.T) {
	var out bytes.Buffer
	again, n := make(chan time.Time), 0
	stop := show(&out, func() string { n++; return string(rune('0' + n)) }, again)
	again <- time.Time{}
	again <- time.Time{}
	stop()
	if got, want := out.String(), "\r\x1b[K1\r\x1b[K2\r\x1b[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	Show(&out, func() string { t.Error("a line for what is no terminal"); return "" })()
	if out.Len() > 0 {
		t.Errorf("no terminal: %q", out.String())
	}
}
