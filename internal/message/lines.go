package message

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// CRLFWriter passes bytes on with every LF that has no CR before it written as CRLF, so that CRLF is never doubled. The
// result does not depend on how the bytes are cut into calls.
type CRLFWriter struct {
	w    io.Writer
	last byte
	buf  []byte
}

// ToCRLF wraps w.
func ToCRLF(w io.Writer) *CRLFWriter { return &CRLFWriter{w: w} }

func (c *CRLFWriter) Write(p []byte) (int, error) {
	c.buf = slices.Grow(c.buf[:0], len(p)+len(p)/32)
	rest := p
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		c.buf = append(c.buf, rest[:i]...)
		prev := c.last
		if i > 0 {
			prev = rest[i-1]
		}
		if prev != '\r' {
			c.buf = append(c.buf, '\r')
		}
		c.buf = append(c.buf, '\n')
		c.last = '\n'
		rest = rest[i+1:]
	}
	if len(rest) > 0 {
		c.buf = append(c.buf, rest...)
		c.last = rest[len(rest)-1]
	}
	if _, err := c.w.Write(c.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes nothing more: nothing is held back. It makes the writer fit where a closer is wanted.
func (c *CRLFWriter) Close() error { return nil }

// LFWriter passes bytes on with CRLF written as LF; a CR that no LF follows stays.
type LFWriter struct {
	w     io.Writer
	check *Checker // nil: none
	cr    bool     // a CR is held back until the next byte is known
	buf   []byte
}

// ToLF wraps w. Close must be called at the end.
func ToLF(w io.Writer) *LFWriter { return &LFWriter{w: w} }

// ToCheckedLF is ToLF that shows all bytes to c, too, in little more time than either takes alone. Nothing else may be written to
// c before the last Write.
func ToCheckedLF(w io.Writer, c *Checker) *LFWriter { return &LFWriter{w: w, check: c} }

func (l *LFWriter) Write(p []byte) (int, error) {
	l.buf = slices.Grow(l.buf[:0], len(p)+1)
	if l.check != nil {
		l.convert(l.checked(p))
	} else {
		l.convert(p)
	}
	if _, err := l.w.Write(l.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// checked shows p to the checker, and converts at its head what can be converted in the same go. It returns the rest.
func (l *LFWriter) checked(p []byte) (rest []byte) {
	if l.cr && len(p) > 0 { // a CRLF that was cut
		l.check.Write(p[:1])
		l.convert(p[:1])
		p = p[1:]
	}
	n := len(p)
	if n > 0 && p[n-1] == '\r' {
		n--
	}
	at := len(l.buf)
	if size, ok := l.check.wholeLines(p[:n], l.buf[at:at+n]); ok {
		l.buf = l.buf[:at+size]
		p = p[n:]
	}
	l.check.Write(p)
	return p
}

// convert appends what p is to the buffer.
func (l *LFWriter) convert(p []byte) {
	if l.cr && len(p) > 0 && p[0] != '\n' {
		l.buf = append(l.buf, '\r')
	}
	if len(p) > 0 {
		l.cr = p[len(p)-1] == '\r'
	}
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\r')
		if i < 0 {
			l.buf = append(l.buf, rest...)
			break
		}
		l.buf = append(l.buf, rest[:i]...)
		rest = rest[i+1:]
		if len(rest) > 0 && rest[0] != '\n' {
			l.buf = append(l.buf, '\r')
		}
	}
}

// Close writes a CR that was the last byte.
func (l *LFWriter) Close() error {
	if !l.cr {
		return nil
	}
	l.cr = false
	_, err := l.w.Write([]byte{'\r'})
	return err
}

// Limits of Check; a zero field is no limit or not looked at.
type Limits struct {
	Line   int   // longest line in bytes with its CRLF; RFC 5322 section 2.1.1 has 998 and CRLF, RFC 5321 section 4.5.3.1.6 1000
	Header int64 // longest header section in bytes
	CRLF   bool  // lines must end in CRLF: a bare LF is a violation (RFC 5321 section 2.3.8); without it LF and CRLF both end a line
	NUL    bool  // a NUL is a violation
}

// Violation is the first thing in a message that the standards do not allow.
type Violation struct {
	Kind string // "bare CR", "bare LF", "NUL", "line too long" or "header too long"
	Line int64  // counted from 1
	Byte int64  // counted from 1, in the line
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s at line %d, byte %d", v.Kind, v.Line, v.Byte)
}

// Checker finds the first violation in bytes that arrive piece by piece.
type Checker struct {
	l     Limits
	found *Violation
	line  int64
	col   int64 // bytes of this line so far
	cr    bool  // the last byte was a CR
	head  bool  // still in the header
	total int64
}

// NewChecker checks by l.
func NewChecker(l Limits) *Checker { return &Checker{l: l, line: 1, head: true} }

// Write looks at p and never fails: the whole message is to be read before it is refused.
func (c *Checker) Write(p []byte) (int, error) {
	for i := 0; i < len(p) && c.found == nil; i++ {
		if i < 2 { // also behind a CRLF that was cut
			if _, ok := c.wholeLines(p[i:], nil); ok {
				break
			}
		}
		if n := c.plain(p[i:]); n > 0 {
			i += n
			if i == len(p) {
				break
			}
		}
		c.next(p[i])
	}
	return len(p), nil
}

// wholeLines takes all of p when a look at all of it at once, which is quicker than at one line after the other, finds no
// violation. It is for what a server asks, and leaves bytes that are cut inside a CRLF to others. Into a buffer as long as p it
// puts p with LF for CRLF, size bytes; what is there when it is not ok means nothing.
func (c *Checker) wholeLines(p, lf []byte) (size int, ok bool) {
	if c.found != nil || c.cr || c.l != (Limits{CRLF: true, NUL: true}) || len(p) == 0 || p[len(p)-1] == '\r' ||
		bytes.IndexByte(p, 0) >= 0 {
		return 0, false
	}
	lines, at := 0, 0
	for {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			break
		}
		end := at + i
		if end == 0 || p[end-1] != '\r' {
			return 0, false
		}
		if lf != nil {
			copy(lf[size:], p[at:end])
			size += i
			lf[size-1] = '\n'
		}
		at = end + 1
		lines++
	}
	if bytes.Count(p, []byte{'\r'}) != lines {
		return 0, false
	}
	size += copy(lf[size:], p[at:])
	if lines > 0 {
		c.col = 0
	}
	c.line += int64(lines)
	c.col += int64(len(p) - at)
	c.total += int64(len(p))
	return size, true
}

// plain counts the bytes at the head of p that cannot violate anything, so that they need not be looked at one by one: those
// inside a line, up to the next CR, LF or NUL and within all limits.
func (c *Checker) plain(p []byte) int {
	if c.cr {
		return 0
	}
	if c.l.Line > 0 {
		p = p[:min(len(p), max(0, c.l.Line-int(c.col)))]
	}
	if c.head && c.l.Header > 0 {
		p = p[:min(int64(len(p)), max(0, c.l.Header-c.total))]
	}
	n := bytes.IndexByte(p, '\n')
	if n >= 0 {
		p = p[:n]
	}
	if n = bytes.IndexByte(p, '\r'); n >= 0 {
		p = p[:n]
	}
	if n = bytes.IndexByte(p, 0); n >= 0 && c.l.NUL {
		p = p[:n]
	}
	c.col += int64(len(p))
	c.total += int64(len(p))
	return len(p)
}

func (c *Checker) next(b byte) {
	if c.cr && b != '\n' {
		c.fail("bare CR")
		return
	}
	c.total++
	c.col++
	switch {
	case b == 0 && c.l.NUL:
		c.fail("NUL")
	case b == '\n' && !c.cr && c.l.CRLF:
		c.fail("bare LF")
	case c.l.Line > 0 && c.col > int64(c.l.Line):
		c.fail("line too long")
	case c.head && c.l.Header > 0 && c.total > c.l.Header:
		c.fail("header too long")
	case b == '\n':
		text := c.col - 1
		if c.cr {
			text--
		}
		c.head = c.head && text > 0
		c.line, c.col = c.line+1, 0
	}
	c.cr = b == '\r'
}

// fail notes a violation at the byte last counted: for a bare CR that is the CR itself.
func (c *Checker) fail(kind string) { c.found = &Violation{kind, c.line, c.col} }

// Result is the first violation, or nil. It is final: a CR that was the last byte counts as bare.
func (c *Checker) Result() *Violation {
	if c.found == nil && c.cr {
		c.fail("bare CR")
	}
	return c.found
}

// Check reads r to its end and returns its first violation as a *Violation, or the read error.
func Check(r io.Reader, l Limits) error {
	c := NewChecker(l)
	if _, err := bufio.NewReader(r).WriteTo(c); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if v := c.Result(); v != nil {
		return v
	}
	return nil
}
