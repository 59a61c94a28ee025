package dkim

import (
	"bytes"
	"io"
)

// body writes the canonical form of a message body to w (RFC 6376 sections
// 3.4.3 and 3.4.4). Empty lines are only counted until something follows them,
// so that each costs the same wherever it stands.
//
// The state between two bytes is: the empty lines held back, whether the
// current line has content, and, inside a line, the white space (relaxed) and
// the CR (perhaps half of a line end) held back.
type body struct {
	w       io.Writer
	relaxed bool
	blank   int64
	content bool
	space   bool
	cr      bool
	any     bool // something was written to w
	out     []byte
}

const bodyBuffer = 4096

// These are variables so that writing them allocates nothing.
var (
	lineEnd        = []byte("\r\n")
	carriageReturn = []byte("\r")
	blank          = []byte(" ")
)

func newBody(w io.Writer, c Canon) *body {
	return &body{w: w, relaxed: c == Relaxed, out: make([]byte, 0, bodyBuffer)}
}

// Write takes the next part of the body, in either line-end convention.
func (b *body) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		switch c := p[i]; {
		case c == '\n':
			b.endLine()
			i++
		case c == '\r':
			b.returnIsContent()
			b.cr = true
			i++
		case b.relaxed && (c == ' ' || c == '\t'):
			b.returnIsContent()
			b.space = true
			i++
		default:
			n := b.run(p[i:])
			b.returnIsContent()
			b.emit(p[i : i+n])
			i += n
		}
	}
	return len(p), nil
}

// run is the length of the stretch at the start of p that needs no thought.
func (b *body) run(p []byte) int {
	for i, c := range p {
		if c == '\n' || c == '\r' || b.relaxed && (c == ' ' || c == '\t') {
			return i
		}
	}
	return len(p)
}

// returnIsContent is called when a byte other than LF follows a CR.
func (b *body) returnIsContent() {
	if b.cr {
		b.cr = false
		b.emit(carriageReturn)
	}
}

func (b *body) endLine() {
	if b.content {
		b.put(lineEnd)
	} else {
		b.blank++
	}
	b.content, b.space, b.cr = false, false, false
}

// emit writes bytes of a line, after what was held back before them.
func (b *body) emit(p []byte) {
	for ; b.blank > 0; b.blank-- {
		b.put(lineEnd)
	}
	if b.space {
		b.space = false
		b.put(blank)
	}
	b.content = true
	b.put(p)
}

func (b *body) put(p []byte) {
	b.any = true
	if len(b.out)+len(p) > bodyBuffer {
		b.flush()
	}
	if len(p) > bodyBuffer {
		_, _ = b.w.Write(p) // a hash does not fail
		return
	}
	b.out = append(b.out, p...)
}

func (b *body) flush() {
	_, _ = b.w.Write(b.out)
	b.out = b.out[:0]
}

// Close ends an unfinished last line and drops the empty lines at the end.
// An empty body is one CRLF in the simple form and nothing in the relaxed.
func (b *body) Close() error {
	b.returnIsContent()
	if b.content {
		b.endLine()
	}
	if !b.any && !b.relaxed {
		b.put(lineEnd)
	}
	b.flush()
	return nil
}

// canonField appends the canonical form of a header field, raw with its line
// end, to dst (RFC 6376 sections 3.4.1 and 3.4.2).
func canonField(dst, raw []byte, c Canon) []byte {
	if c == Simple {
		return append(simpleField(dst, raw), '\r', '\n')
	}
	return append(relaxedField(dst, raw), '\r', '\n')
}

// trimEOL drops the last line end, if there is one.
func trimEOL(raw []byte) []byte {
	if n := len(raw); n > 0 && raw[n-1] == '\n' {
		raw = raw[:n-1]
		if n > 1 && raw[n-2] == '\r' {
			raw = raw[:n-2]
		}
	}
	return raw
}

func simpleField(dst, raw []byte) []byte {
	raw = trimEOL(raw)
	for i, c := range raw {
		if c == '\n' && (i == 0 || raw[i-1] != '\r') {
			dst = append(dst, '\r')
		}
		dst = append(dst, c)
	}
	return dst
}

func relaxedField(dst, raw []byte) []byte {
	name, value, _ := bytes.Cut(raw, []byte{':'})
	for _, c := range bytes.TrimRight(name, " \t") {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	start, space := len(dst), false
	for i, c := range value {
		switch {
		case c == ' ' || c == '\t':
			space = true
		case c == '\n' || c == '\r' && i+1 < len(value) && value[i+1] == '\n':
			// unfolding removes the line end, and only that
		default:
			if space && len(dst) > start {
				dst = append(dst, ' ')
			}
			space = false
			dst = append(dst, c)
		}
	}
	return dst
}

// limit passes the first max bytes on and counts all of them.
type limit struct {
	w        io.Writer
	max, got int64 // max < 0: all
}

func (l *limit) Write(p []byte) (int, error) {
	pass := p
	if left := l.max - l.got; l.max >= 0 && int64(len(p)) > left {
		pass = p[:max(left, 0)]
	}
	l.got += int64(len(p))
	_, err := l.w.Write(pass)
	return len(p), err
}
