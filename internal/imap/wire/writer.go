package wire

import (
	"bufio"
	"fmt"
	"io"
)

// A Writer writes responses. Errors are kept: Flush and Err report the first.
type Writer struct {
	// Trace, when set, is given each line that was written, literals left out.
	Trace func(line []byte)

	w     *bufio.Writer
	trace []byte
	err   error
}

// NewWriter returns a buffering writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 16<<10)} }

// Reset continues on w; what was not flushed is lost.
func (w *Writer) Reset(to io.Writer) { w.w.Reset(to); w.err = nil }

// Err returns the first error met.
func (w *Writer) Err() error { return w.err }

// Flush sends what is buffered.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// maxTrace bounds a traced line.
const maxTrace = 512

// Raw writes text that is protocol already, without a line end.
func (w *Writer) Raw(s string) {
	if w.err != nil {
		return
	}
	if w.Trace != nil && len(w.trace) < maxTrace {
		w.trace = append(w.trace, s[:min(len(s), maxTrace)]...)
	}
	_, w.err = w.w.WriteString(s)
}

// Printf is Raw with a format.
func (w *Writer) Printf(format string, a ...any) { w.Raw(fmt.Sprintf(format, a...)) }

// CRLF ends a line.
func (w *Writer) CRLF() {
	if w.Trace != nil {
		w.Trace(w.trace)
		w.trace = w.trace[:0]
	}
	if w.err == nil {
		_, w.err = w.w.WriteString("\r\n")
	}
}

// Line writes one whole line.
func (w *Writer) Line(format string, a ...any) {
	w.Printf(format, a...)
	w.CRLF()
}

// maxQuoted is the length from which a string is sent as a literal: some clients bound their lines.
const maxQuoted = 1000

// String writes s as a quoted string where that is allowed, else as a literal.
func (w *Writer) String(s string) {
	if len(s) > maxQuoted {
		w.literal(s)
		return
	}
	quoted := make([]byte, 0, len(s)+2)
	quoted = append(quoted, '"')
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c >= 0x7f {
			w.literal(s)
			return
		}
		if c == '"' || c == '\\' {
			quoted = append(quoted, '\\')
		}
		quoted = append(quoted, c)
	}
	w.Raw(string(append(quoted, '"')))
}

func (w *Writer) literal(s string) {
	w.Printf("{%d}\r\n", len(s))
	if w.err == nil {
		_, w.err = w.w.WriteString(s)
	}
}

// AString writes s as an atom where that is allowed, else as String does.
func (w *Writer) AString(s string) {
	for i := range len(s) {
		if !isAStringChar(s[i]) {
			w.String(s)
			return
		}
	}
	if s == "" || len(s) > maxQuoted || s == "NIL" {
		w.String(s)
		return
	}
	w.Raw(s)
}

// NString writes NIL for an absent string.
func (w *Writer) NString(s string, present bool) {
	if !present {
		w.Raw("NIL")
		return
	}
	w.String(s)
}

// Literal announces size bytes and has write send them. Should it send fewer or fail, the stream is
// broken for good, since the peer waits for the rest: Err is set. Excess is an error of write.
func (w *Writer) Literal(size int64, write func(io.Writer) error) {
	w.Printf("{%d}\r\n", size)
	if w.err != nil {
		return
	}
	out := &exact{w: w.w, left: size}
	err := write(out)
	if err == nil && out.left != 0 {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("send a literal of %d bytes: %w", size, err)
	}
}

type exact struct {
	w    io.Writer
	left int64
}

func (e *exact) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("%d bytes more than announced", int64(len(p))-e.left)
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}
