package mailtest

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

func TestDialog(t *testing.T) {
	c, peer := net.Pipe()
	go func() {
		defer peer.Close()
		io.WriteString(peer, "220 here\r\n")
		buf := make([]byte, 64)
		n, _ := peer.Read(buf)
		fmt.Fprintf(peer, "250 %q\r\n250 bytes 12\r\n", buf[:n])
	}()
	Dialog(t, c, `
		# the peer says what it read
		<- 220 he...
		=> A\r\n\x00
		<- 250 "A\r\n\x00"
		<~ ^250 bytes \d+$
		<- EOF
	`)
}

// failing stands in for a test, so that it can be seen to fail.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, a ...any) {
	f.said = fmt.Sprintf(format, a...)
	runtime.Goexit()
}

func TestDialogFails(t *testing.T) {
	for name, tt := range map[string]struct{ peer, script, want string }{
		"another line":   {"250 no\r\n", "<- 250 yes", `got "250 no"`},
		"only a prefix":  {"250 yes or no\r\n", "<- 250 yes", `got "250 yes or no"`},
		"bare LF":        {"250 yes\n", "<- 250 yes", "does not end in CRLF"},
		"no line":        {"", "<- 250 yes", "EOF"},
		"not the end":    {"more\r\n", "<- EOF", "want the end"},
		"unknown step":   {"", "250 yes", "not a step"},
		"regexp":         {"250 x\r\n", "<~ ^250 \\d", `got "250 x"`},
		"line is told":   {"a\r\nb\r\n", "<- a\n<- c", "line 2"},
		"half a line":    {"25", "<- 25", "EOF"},
		"end with rests": {"x", "<- EOF", "want the end"},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := net.Pipe()
			go func() { io.WriteString(peer, tt.peer); peer.Close() }()
			f := &failing{TB: t}
			done := make(chan struct{})
			go func() { defer close(done); Dialog(f, c, tt.script) }()
			<-done
			c.Close()
			if !strings.Contains(f.said, tt.want) {
				t.Errorf("said %q, want %q in it", f.said, tt.want)
			}
		})
	}
}
