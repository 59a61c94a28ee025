package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"pennypost/internal/status"
)

// Reader reads the messages of a mailbox in order.
type Reader struct {
	in     *sticky
	br     *bufio.Reader
	format Format
	rule   Rule
	off    int64 // bytes consumed
	begun  bool
	cur    *body
	err    error
}

// Message is one message of a mailbox.
type Message struct {
	FromLine []byte    // the From_ line with its line end
	Offset   int64     // where the From_ line starts in the file
	Body     io.Reader // header and body, unquoted; good until the next call of Next

	// Suspect counts lines "From ..." that stand unquoted inside the message but
	// do not begin a message by the rule in force. It is final when Body is read.
	Suspect int

	tail []byte // what stands between the end of Body and the next From_ line
	owed string // what is missing before another message may follow
}

// NewReader reads a mailbox from r by the rule Strict.
func NewReader(r io.Reader, f Format) *Reader {
	in := &sticky{r: r}
	return &Reader{in: in, br: bufio.NewReaderSize(in, bufSize), format: f}
}

// SetRule changes which lines begin a message. Call it before Next.
func (r *Reader) SetRule(rule Rule) { r.rule = rule }

// Offset is the number of bytes consumed so far.
func (r *Reader) Offset() int64 { return r.off }

// Next returns the next message, after passing over what is unread of the last
// one. At the end it returns io.EOF; an empty file, or one of empty lines only,
// holds no message. A file that starts with something else than a From_ line is
// a *status.Error of kind Data that names the byte offset. Errors stay.
func (r *Reader) Next() (*Message, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.cur != nil {
		if _, r.err = io.Copy(io.Discard, r.cur); r.err != nil {
			return nil, r.err
		}
	}
	m, err := r.start()
	r.err = err
	return m, err
}

func (r *Reader) start() (*Message, error) {
	for !r.begun {
		n := blankLen(r.peek(2))
		if n == 0 {
			break
		}
		r.discard(n)
	}
	if _, err := r.br.Peek(1); err != nil {
		return nil, err
	}
	n, ok := r.fromLen(0)
	if !ok || (!r.begun && r.rule == Strict && !dated(r.peek(n))) {
		return nil, r.junk()
	}
	r.begun = true
	m := &Message{FromLine: bytes.Clone(r.peek(n)), Offset: r.off}
	r.discard(n)
	r.cur = &body{r: r, m: m, mid: m.FromLine[n-1] != '\n', short: hasRemark(m.FromLine)}
	m.Body = r.cur
	return m, nil
}

func (r *Reader) junk() error {
	if err := r.in.err; err != nil && err != io.EOF {
		return err
	}
	line, _, _ := bytes.Cut(r.peek(80), []byte("\n"))
	return status.Errorf(status.Data, "not a mailbox: at byte %d stands %q instead of a From_ line", r.off, line)
}

// peek returns the next n bytes, or fewer at the end of the file.
func (r *Reader) peek(n int) []byte {
	b, _ := r.br.Peek(n)
	return b
}

func (r *Reader) discard(n int) {
	n, _ = r.br.Discard(n)
	r.off += int64(n)
}

// fromLen is the length, line end included, of the line "From ..." that starts
// skip bytes on. There is none if it is longer than maxFrom.
func (r *Reader) fromLen(skip int) (int, bool) {
	b := r.peek(skip + len(from))
	if len(b) < skip || !bytes.HasPrefix(b[skip:], from) {
		return 0, false
	}
	b, err := r.br.Peek(skip + maxFrom)
	b = b[skip:]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1, true
	}
	return len(b), errors.Is(err, io.EOF)
}

// begins reports whether a message begins skip bytes on, where skip is the
// length of the empty line before it, 0 for none.
func (r *Reader) begins(skip int) bool {
	n, ok := r.fromLen(skip)
	if !ok || (skip == 0 && r.rule != Any) {
		return false
	}
	return r.rule != Strict || dated(r.peek(skip + n)[skip:])
}

func dated(line []byte) bool {
	_, _, ok := ParseFrom(line)
	return ok
}

// blankLen is the length of the empty line at the start of b, 0 for none.
func blankLen(b []byte) int {
	switch {
	case len(b) > 0 && b[0] == '\n':
		return 1
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		return 2
	}
	return 0
}

// sticky repeats an error of the reader below it: bufio forgets one after it was seen.
type sticky struct {
	r   io.Reader
	err error
}

func (s *sticky) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.err = err
	return n, err
}
