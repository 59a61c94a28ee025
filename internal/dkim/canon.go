package dkim

import (
	"bytes"
	"encoding/binary"
	"io"
)

// body writes the canonical form of a message body to w (RFC 6376 sections
// 3.4.3 and 3.4.4). Empty lines are only counted until something follows them,
// so that each costs the same wherever it stands.
//
// The state between two bytes is: the empty lines held back, whether the
// current line has content, and, inside a line, the white space (relaxed) and
// after it the CR (perhaps half of a line end) held back.
type body struct {
	w       io.Writer
	relaxed bool
	blank   int64
	content bool
	space   bool
	cr      bool
	any     bool // something was written to w
	mixed   int  // so many bytes are not worth a look at many lines at once
	size    int  // of what waits in out
	out     [bodyBuffer]byte
}

const bodyBuffer = 4096

// These are variables so that writing them allocates nothing.
var (
	lineEnds       = bytes.Repeat([]byte("\r\n"), bodyBuffer/2)
	carriageReturn = []byte("\r")
	oneBlank       = []byte(" ")
)

// reset makes b ready for another body.
func (b *body) reset(w io.Writer, c Canon) {
	b.w, b.relaxed = w, c == Relaxed
	b.blank, b.mixed, b.size = 0, 0, 0
	b.content, b.space, b.cr, b.any = false, false, false, false
}

// Write takes the next part of the body, in either line-end convention.
func (b *body) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if p = b.blanks(p); len(p) == 0 {
			break
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			b.part(p)
			break
		}
		if same := b.same(p, end); same > 0 {
			b.putBlank()
			b.put(p[:same])
			p = p[same:]
			continue
		}
		b.mixed -= end + 1
		if !b.wholeLine(p[:end]) {
			b.part(p[:end])
			b.endLine()
		}
		p = p[end+1:]
	}
	return n, nil
}

// blanks passes over the line ends at the start of p if a line begins there.
func (b *body) blanks(p []byte) []byte {
	if b.content || b.space || b.cr {
		return p
	}
	i := 0
	for ; i < len(p); i++ {
		if p[i] == '\r' && i+1 < len(p) {
			i++
		}
		if p[i] != '\n' {
			break
		}
		b.blank++
	}
	if i > 0 && i < len(p) && p[i-1] == '\r' {
		i--
	}
	return p[i:]
}

// same is the length of lines at the start of p, the first of which has its LF at end, that are in canonical form as they stand,
// as nearly all are on the wire. The last of them is not empty. It looks at a page; when it finds little there, none is looked for
// in the next one, so that looking in vain costs little.
func (b *body) same(p []byte, end int) (same int) {
	if b.content || b.space || b.cr || b.mixed > 0 || end == 0 || p[end-1] != '\r' {
		return 0
	}
	p = p[:min(len(p), bodyBuffer)]
	if b.relaxed {
		p = p[:evenText(p)]
	}
	for at := 0; ; {
		n := bytes.IndexByte(p[at:], '\n')
		if n < 1 || p[at+n-1] != '\r' {
			break
		}
		if at += n + 1; n > 1 {
			same = at
		}
	}
	if same < bodyBuffer/8 {
		b.mixed = bodyBuffer
	}
	return same
}

// evenText is the length, in steps of 32 bytes, of the stretch at the start of p in which every white space is a single blank
// that has something behind it in its line.
func evenText(p []byte) (n int) {
	if tab := bytes.IndexByte(p, '\t'); tab >= 0 {
		p = p[:tab]
	}
	last := uint64(0) // of the blanks before, the last one, in the lowest byte
	for ; len(p) >= 32; p = p[32:] {
		low0, blanks0 := lowBytes(binary.LittleEndian.Uint64(p))
		low1, blanks1 := lowBytes(binary.LittleEndian.Uint64(p[8:]))
		low2, blanks2 := lowBytes(binary.LittleEndian.Uint64(p[16:]))
		low3, blanks3 := lowBytes(binary.LittleEndian.Uint64(p[24:]))
		if low0&(blanks0<<8|last)|low1&(blanks1<<8|blanks0>>56)|low2&(blanks2<<8|blanks1>>56)|low3&(blanks3<<8|blanks2>>56) != 0 {
			break
		}
		last = blanks3 >> 56
		n += 32
	}
	return n
}

// lowBytes has the high bit of each of eight bytes that is a blank or lower, and of each that is a blank.
func lowBytes(x uint64) (low, blanks uint64) {
	const ones = 0x0101010101010101
	low = ^((x&(0x7F*ones) + 0x5F*ones) | x) & (0x80 * ones)
	return low, low & (x << 2) // only a blank has this bit
}

// wholeLine takes a line, without its LF, that begins here and is short enough for the buffer, as nearly all are: what part and
// endLine do, at once.
func (b *body) wholeLine(p []byte) bool {
	if b.content || b.space || b.cr || len(p)+2 > bodyBuffer {
		return false
	}
	if n := len(p); n > 0 && p[n-1] == '\r' {
		p = p[:n-1]
	}
	if b.relaxed {
		p = trimBlanks(p)
	}
	if len(p) == 0 {
		b.blank++
		return true
	}
	b.putBlank()
	if b.size+len(p)+2 > bodyBuffer {
		b.flush()
	}
	b.any = true
	out, n := &b.out, b.size
	for b.relaxed {
		if isBlank(p[0]) {
			p = skipBlanks(p)
			out[n] = ' '
			n++
		}
		even := evenBlanks(p)
		if even == len(p) {
			break
		}
		n += copy(out[n:], p[:even])
		p = p[even:]
	}
	n += copy(out[n:], p)
	out[n], out[n+1] = '\r', '\n'
	b.size = n + 2
	return true
}

// trimBlanks drops the white space at the end.
func trimBlanks(p []byte) []byte {
	for len(p) > 0 && isBlank(p[len(p)-1]) {
		p = p[:len(p)-1]
	}
	return p
}

// skipBlanks drops the white space at the start of what has something else too.
func skipBlanks(p []byte) []byte {
	for isBlank(p[0]) {
		p = p[1:]
	}
	return p
}

// part takes a stretch of a line. Every CR in it but one at its end is content.
func (b *body) part(p []byte) {
	if len(p) == 0 {
		return
	}
	if b.cr {
		b.cr = false
		b.emit(carriageReturn)
	}
	if p[len(p)-1] == '\r' {
		b.cr = true
		p = p[:len(p)-1]
	}
	if !b.relaxed {
		if len(p) > 0 {
			b.emit(p)
		}
		return
	}
	words := trimBlanks(p)
	if len(words) > 0 {
		b.squeeze(words)
	}
	b.space = b.space || len(words) < len(p)
}

// squeeze emits a stretch that ends in something else than white space, every run of white space in it as one blank.
func (b *body) squeeze(p []byte) {
	for {
		if isBlank(p[0]) {
			b.space = true
			p = skipBlanks(p)
		}
		n := evenBlanks(p)
		b.emit(p[:n])
		if p = p[n:]; len(p) == 0 {
			return
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// whiteSpace has the high bit of each of the next eight bytes that is a blank or a tab; some may be set above one that is.
func whiteSpace(p []byte) (blanks, tabs uint64) {
	const ones = 0x0101010101010101
	x := binary.LittleEndian.Uint64(p)
	y, z := x^' '*ones, x^'\t'*ones
	return (y - ones) &^ y & (0x80 * ones), (z - ones) &^ z & (0x80 * ones)
}

// evenBlanks is the length of the stretch at the start of p before the first white space that is not a single blank. It looks at
// eight bytes at a time.
func evenBlanks(p []byte) int {
	i := 0
	for last := uint64(0); i+8 <= len(p); i += 8 {
		blanks, tabs := whiteSpace(p[i:])
		if tabs|blanks&(blanks<<8|last) != 0 {
			break
		}
		last = blanks >> 56
	}
	if i > 0 && len(p)-i < 8 {
		// The last eight overlap what was seen, so that no pair is missed.
		if blanks, tabs := whiteSpace(p[len(p)-8:]); tabs|blanks&(blanks<<8) == 0 {
			return len(p)
		}
	}
	for i = max(i-1, 0); i < len(p); i++ {
		if p[i] == '\t' || p[i] == ' ' && i+1 < len(p) && isBlank(p[i+1]) {
			break
		}
	}
	return i
}

func (b *body) endLine() {
	if b.content {
		b.put(lineEnds[:2])
	} else {
		b.blank++
	}
	b.content, b.space, b.cr = false, false, false
}

// emit writes bytes of a line, after what was held back before them.
func (b *body) emit(p []byte) {
	b.putBlank()
	if b.space {
		b.space = false
		b.put(oneBlank)
	}
	b.content = true
	b.put(p)
}

// putBlank writes the empty lines that were held back.
func (b *body) putBlank() {
	for b.blank > 0 {
		n := min(b.blank, int64(len(lineEnds)/2))
		b.put(lineEnds[:2*n])
		b.blank -= n
	}
}

func (b *body) put(p []byte) {
	b.any = true
	if b.size+len(p) > bodyBuffer || len(p) > bodyBuffer/2 {
		b.flush()
	}
	if len(p) > bodyBuffer/2 {
		_, _ = b.w.Write(p) // a hash does not fail
		return
	}
	b.size += copy(b.out[b.size:], p)
}

func (b *body) flush() {
	_, _ = b.w.Write(b.out[:b.size])
	b.size = 0
}

// Close ends an unfinished last line and drops the empty lines at the end.
// An empty body is one CRLF in the simple form and nothing in the relaxed.
func (b *body) Close() error {
	if b.cr {
		b.cr = false
		b.emit(carriageReturn)
	}
	if b.content {
		b.endLine()
	}
	if !b.any && !b.relaxed {
		b.put(lineEnds[:2])
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
	for _, c := range trimBlanks(name) {
		dst = append(dst, toLower(c))
	}
	dst = append(dst, ':')
	start, space := len(dst), false
	for len(value) > 0 {
		if n := plainText(value); n > 0 {
			if space && len(dst) > start {
				dst = append(dst, ' ')
			}
			space = false
			dst = append(dst, value[:n]...)
			value = value[n:]
			continue
		}
		// Unfolding removes the line end, and only that.
		space = space || isBlank(value[0])
		value = value[1:]
	}
	return dst
}

// plainText is how many bytes at the start of a field's value stay as they are: all up to a line end, and up to white space that
// is not a single blank between others.
func plainText(p []byte) int {
	if isBlank(p[0]) {
		return 0
	}
	for i, c := range p {
		if c > ' ' {
			continue
		}
		next := byte(0)
		if i+1 < len(p) {
			next = p[i+1]
		}
		if c == '\n' || c == '\t' || c == '\r' && next == '\n' || c == ' ' && next <= ' ' {
			return i
		}
	}
	return len(p)
}
