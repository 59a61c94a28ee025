// Package wire reads and writes the tokens of IMAP (RFC 3501 section 9): atoms, quoted strings, literals,
// parenthesised lists, sequence sets. It hides where a command's lines end and its literals begin.
//
// It guarantees that memory is bounded by Limits whatever the peer sends, and that a literal that was
// refused is never read as a command: Decoder.Finish skips what a non-synchronising literal (RFC 7888)
// has already put on the line, or reports that the connection must be closed.
package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Limits bound what a Decoder takes. They may be changed between commands.
type Limits struct {
	Line     int   // bytes of one line, without its end
	Literal  int64 // bytes of one literal that is held in memory
	Command  int64 // bytes of all such literals of one command
	Literals int   // number of literals in one command
	Skip     int64 // bytes of refused literals that are read and thrown away before giving up
}

// A SyntaxError says what was expected where in the command line. The connection stays usable.
type SyntaxError struct{ Text string }

func (e *SyntaxError) Error() string { return e.Text }

func syntax(format string, a ...any) error { return &SyntaxError{fmt.Sprintf(format, a...)} }

// ErrTooBig says that a literal is larger than the limit; the command is refused, the connection usable.
var ErrTooBig = errors.New("literal is too big")

// ErrOverrun says that the peer sent more than can be skipped: the connection must be closed.
var ErrOverrun = errors.New("line or literal exceeds all limits")

// A Decoder reads commands. After Next the token methods walk along the command; they read on over
// literals by themselves. Finish ends the command.
type Decoder struct {
	Limits Limits
	// Continue is called before a synchronising literal is read; it sends "+ ..." and flushes.
	Continue func() error
	// Trace, when set, is given each line without its end; more tells a line that continues a command.
	Trace func(line []byte, more bool)

	r        *bufio.Reader
	line     []byte
	pos      int
	stream   *literal // a literal that is being streamed
	held     int64
	literals int
	broken   error
}

// NewDecoder returns a decoder on r.
func NewDecoder(r io.Reader, l Limits) *Decoder {
	return &Decoder{Limits: l, r: bufio.NewReaderSize(r, 16<<10)}
}

// Buffered returns how many bytes have been received but not read: what a peer sent ahead of STARTTLS.
func (d *Decoder) Buffered() int { return d.r.Buffered() }

// Reset forgets everything received and continues on r.
func (d *Decoder) Reset(r io.Reader) {
	d.r.Reset(r)
	d.line, d.pos, d.stream, d.broken = nil, 0, nil, nil
}

// Wait blocks until a byte can be read, and consumes nothing. When reading fails the decoder is done.
func (d *Decoder) Wait() error {
	if _, err := d.r.Peek(1); err != nil {
		return d.fail(err)
	}
	return nil
}

// Next reads the first line of the next command. io.EOF: the peer closed between two commands.
func (d *Decoder) Next() error {
	if d.broken != nil {
		return d.broken
	}
	d.held, d.literals, d.stream = 0, 0, nil
	return d.readLine(false)
}

func (d *Decoder) readLine(more bool) error {
	d.line, d.pos = d.line[:0], 0
	for {
		chunk, err := d.r.ReadSlice('\n')
		if len(d.line)+len(chunk) > d.Limits.Line+2 {
			return d.fail(ErrOverrun)
		}
		d.line = append(d.line, chunk...)
		if err == nil {
			break
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == io.EOF && (len(d.line) > 0 || more) {
			err = io.ErrUnexpectedEOF
		}
		return d.fail(err)
	}
	d.line = bytes.TrimSuffix(d.line[:len(d.line)-1], []byte("\r"))
	if d.Trace != nil {
		d.Trace(d.line, more)
	}
	return nil
}

func (d *Decoder) fail(err error) error {
	d.broken = err
	return err
}

// Line returns what is left of the current line, for answers that are not tokens (IDLE's DONE, SASL).
func (d *Decoder) Line() []byte {
	rest := d.line[d.pos:]
	d.pos = len(d.line)
	return rest
}

// Finish reads what is left of the command, without looking at it. ErrOverrun and read errors mean
// that the connection cannot be used any more.
func (d *Decoder) Finish() error {
	if d.broken != nil {
		return d.broken
	}
	if d.stream != nil {
		if _, err := io.Copy(io.Discard, d.stream); err != nil {
			return d.fail(err)
		}
		d.stream = nil
		if err := d.readLine(true); err != nil {
			return err
		}
	}
	var skipped int64
	for {
		n, wait, ok := literalAt(d.line[d.pos:])
		if !ok || wait {
			return nil // a peer that waits for "+" takes the tagged answer as the refusal
		}
		if n > d.Limits.Skip-skipped {
			return d.fail(ErrOverrun)
		}
		skipped += n + 1
		if _, err := io.CopyN(io.Discard, d.r, n); err != nil {
			return d.fail(err)
		}
		if err := d.readLine(true); err != nil {
			return err
		}
	}
}

// literalAt reads a literal's mark at the end of a line: "{12}" or "{12+}". A number that does not fit is
// the largest one. wait tells that the peer waits for a continuation.
func literalAt(line []byte) (n int64, wait, ok bool) {
	if !bytes.HasSuffix(line, []byte("}")) {
		return 0, false, false
	}
	i := bytes.LastIndexByte(line, '{')
	if i < 0 {
		return 0, false, false
	}
	mark := line[i+1 : len(line)-1]
	wait = true
	if bytes.HasSuffix(mark, []byte("+")) {
		mark, wait = mark[:len(mark)-1], false
	}
	if len(mark) == 0 || len(bytes.Trim(mark, "0123456789")) != 0 {
		return 0, false, false
	}
	n, err := strconv.ParseInt(string(mark), 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, wait, true
}

func (d *Decoder) peek() byte {
	if d.pos < len(d.line) {
		return d.line[d.pos]
	}
	return 0
}

func (d *Decoder) atEnd() bool { return d.pos >= len(d.line) }

// Peek returns the next byte of the line and whether there is one.
func (d *Decoder) Peek() (byte, bool) { return d.peek(), !d.atEnd() }

// Accept consumes c when it is next.
func (d *Decoder) Accept(c byte) bool {
	if !d.atEnd() && d.line[d.pos] == c {
		d.pos++
		return true
	}
	return false
}

// Expect consumes c or fails.
func (d *Decoder) Expect(c byte) error {
	if d.Accept(c) {
		return nil
	}
	return syntax("%q expected %s", string(c), d.where())
}

// SP consumes the blank between two arguments; several are tolerated, since clients send them.
func (d *Decoder) SP() error {
	if !d.Accept(' ') {
		return syntax("an argument is missing %s", d.where())
	}
	for d.Accept(' ') {
	}
	return nil
}

// End fails unless the command ends here. Blanks at the end are tolerated.
func (d *Decoder) End() error {
	for d.Accept(' ') {
	}
	if d.atEnd() {
		return nil
	}
	return syntax("unexpected text %s", d.where())
}

func (d *Decoder) where() string {
	if d.atEnd() {
		return "at the end of the command"
	}
	rest := d.line[d.pos:]
	if len(rest) > 20 {
		rest = rest[:20]
	}
	return fmt.Sprintf("at %q", rest)
}

func (d *Decoder) take(ok func(byte) bool) string {
	i := d.pos
	for i < len(d.line) && ok(d.line[i]) {
		i++
	}
	s := string(d.line[d.pos:i])
	d.pos = i
	return s
}

// IsAtomChar tells ATOM-CHAR (RFC 3501 section 9): no specials, no controls, no 8-bit bytes.
func IsAtomChar(c byte) bool {
	return c > 0x20 && c < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(c))
}

func isAStringChar(c byte) bool { return IsAtomChar(c) || c == ']' }

// Tag reads a command's tag and the blank after it.
func (d *Decoder) Tag() (string, error) {
	tag := d.take(func(c byte) bool { return isAStringChar(c) && c != '+' })
	if tag == "" || len(tag) > 255 || !d.Accept(' ') {
		return "", syntax("a tag is missing")
	}
	return tag, nil
}

// Atom reads an atom.
func (d *Decoder) Atom() (string, error) {
	s := d.take(IsAtomChar)
	if s == "" {
		return "", syntax("a word is missing %s", d.where())
	}
	return s, nil
}

// Word reads an atom that also ends before a byte of stop.
func (d *Decoder) Word(stop string) (string, error) {
	s := d.take(func(c byte) bool { return IsAtomChar(c) && strings.IndexByte(stop, c) < 0 })
	if s == "" {
		return "", syntax("a word is missing %s", d.where())
	}
	return s, nil
}

// Flag reads "\Seen" or a keyword.
func (d *Decoder) Flag() (string, error) {
	prefix := ""
	if d.Accept('\\') {
		prefix = `\`
	}
	s := d.take(isAStringChar)
	if s == "" {
		return "", syntax("a flag is missing %s", d.where())
	}
	return prefix + s, nil
}

// Number reads a decimal number below 2^63.
func (d *Decoder) Number() (int64, error) {
	start := d.where()
	s := d.take(func(c byte) bool { return c >= '0' && c <= '9' })
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, syntax("a number is missing or too big %s", start)
	}
	return n, nil
}

// AString reads an atom, a quoted string or a literal.
func (d *Decoder) AString() (string, error) {
	if c := d.peek(); c == '"' || c == '{' {
		return d.String()
	}
	s := d.take(isAStringChar)
	if s == "" {
		return "", syntax("a string is missing %s", d.where())
	}
	return s, nil
}

// ListMailbox reads LIST's pattern: like AString, with the wildcards allowed in the atom.
func (d *Decoder) ListMailbox() (string, error) {
	if c := d.peek(); c == '"' || c == '{' {
		return d.String()
	}
	s := d.take(func(c byte) bool { return isAStringChar(c) || c == '%' || c == '*' })
	if s == "" {
		return "", syntax("a mailbox pattern is missing %s", d.where())
	}
	return s, nil
}

// String reads a quoted string or a literal, which it holds in memory within the limits.
func (d *Decoder) String() (string, error) {
	switch d.peek() {
	case '"':
		return d.quoted()
	case '{':
		return d.literal()
	}
	return "", syntax("a string is missing %s", d.where())
}

func (d *Decoder) quoted() (string, error) {
	start := d.pos
	var b []byte
	for i := d.pos + 1; i < len(d.line); i++ {
		switch c := d.line[i]; c {
		case '"':
			d.pos = i + 1
			return string(b), nil
		case '\\':
			if i++; i == len(d.line) {
				break
			}
			b = append(b, d.line[i])
		case 0, '\r':
			return "", syntax("a control byte is in a quoted string")
		default:
			b = append(b, c)
		}
	}
	d.pos = start
	return "", syntax("a quoted string has no end")
}

// openLiteral consumes the mark and sends the continuation. The line is used up afterwards.
func (d *Decoder) openLiteral(max int64) (int64, error) {
	mark := d.line[d.pos:]
	n, wait, ok := literalAt(mark)
	if !ok || mark[0] != '{' || bytes.LastIndexByte(mark, '{') != 0 {
		return 0, syntax("a literal must end its line")
	}
	if d.literals++; d.literals > d.Limits.Literals {
		return 0, ErrTooBig
	}
	if n > max {
		return 0, ErrTooBig // the mark stays: Finish skips it
	}
	d.pos = len(d.line)
	if wait && d.Continue != nil {
		if err := d.Continue(); err != nil {
			return 0, d.fail(err)
		}
	}
	return n, nil
}

func (d *Decoder) literal() (string, error) {
	n, err := d.openLiteral(min(d.Limits.Literal, d.Limits.Command-d.held))
	if err != nil {
		return "", err
	}
	d.held += n
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		return "", d.fail(noEOF(err))
	}
	if err := d.readLine(true); err != nil {
		return "", err
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return "", syntax("a NUL byte is in a literal")
	}
	return string(b), nil
}

// Literal opens a literal of at most max bytes for reading as a stream. It returns ErrTooBig before the
// peer has been asked to send. The reader ends with io.EOF after size bytes, with
// io.ErrUnexpectedEOF if the peer goes away before; Finish or After reads what is left.
func (d *Decoder) Literal(max int64) (r io.Reader, size int64, err error) {
	if d.peek() != '{' {
		return nil, 0, syntax("a literal is missing %s", d.where())
	}
	n, err := d.openLiteral(max)
	if err != nil {
		return nil, 0, err
	}
	d.stream = &literal{d: d, left: n}
	return d.stream, n, nil
}

// After goes on behind a streamed literal: it reads the rest of it and the line that follows.
func (d *Decoder) After() error {
	if d.stream == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, d.stream); err != nil {
		return d.fail(err)
	}
	d.stream = nil
	return d.readLine(true)
}

type literal struct {
	d    *Decoder
	left int64
}

func (l *literal) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.d.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err != nil {
		return n, l.d.fail(noEOF(err))
	}
	return n, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// More reads the next line of the same command: what answers a continuation request that asked for no literal.
func (d *Decoder) More() error {
	if d.broken != nil {
		return d.broken
	}
	return d.readLine(true)
}
