package handoff

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"pennypost/internal/status"
)

// maxLine is the length up to which the last line of standard error is kept; a reply line is shorter.
const maxLine = 1024

// tail remembers the last line that is not blank of what is written to it.
type tail struct{ last, line []byte }

func (t *tail) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		t.line = append(t.line, line[:min(len(line), maxLine-len(t.line))]...)
		if ended {
			t.end()
		}
		rest = after
	}
	return len(p), nil
}

func (t *tail) end() {
	if line := bytes.TrimSpace(t.line); len(line) > 0 {
		t.last = append(t.last[:0], line...)
	}
	t.line = t.line[:0]
}

// String ends the input and is the last line.
func (t *tail) String() string {
	t.end()
	return string(t.last)
}

// log passes on what several streams write, up to a limit, and never fails: a full disk under the log must not decide
// about mail.
type log struct {
	mu        sync.Mutex
	w         io.Writer
	limited   bool
	left      int
	truncated bool
}

// newLog passes on up to max bytes to w; 0 = no limit.
func newLog(w io.Writer, max int) *log { return &log{w: w, limited: max > 0, left: max} }

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pass := p
	if l.limited {
		pass = p[:min(len(p), l.left)]
		l.left -= len(pass)
	}
	if len(pass) > 0 {
		l.w.Write(pass)
	}
	if len(pass) < len(p) && !l.truncated {
		l.truncated = true
		io.WriteString(l.w, "\n(more output dropped)\n")
	}
	return len(p), nil
}

// capped fails once more than max bytes are written.
type capped struct {
	w         io.Writer
	left, max int
}

func (c *capped) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.w.Write(p)
	}
	n, err := c.w.Write(p[:c.left])
	c.left = 0
	if err == nil {
		err = status.Errorf(status.TempFail, "more than %d bytes of output", c.max)
	}
	return n, err
}

// outputError is a failure to take the program's output, as opposed to one of the program.
type outputError struct{ err error }

func (o outputError) Error() string { return fmt.Sprintf("take the program's output: %v", o.err) }
func (o outputError) Unwrap() error { return o.err }
