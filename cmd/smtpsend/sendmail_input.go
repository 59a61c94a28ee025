package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"unicode/utf8"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// maxTextLine is the longest line of a mail without its end (RFC 5322 section 2.1.1).
const maxTextLine = 998

// readLetter reads what a program writes to sendmail and makes lines of it that can be mailed, since cron's output or a
// script's HTML must not be lost: CRLF becomes LF, a lone CR a blank in the header and a line end in the body, a NUL is left
// out, and a line that is too long is broken, at a blank where there is one near the end. A From_ line at the top is left out,
// and without whole a line with a dot alone is the end.
func readLetter(r io.Reader, whole bool) (*message.Message, error) {
	w := message.NewWriter(0)
	err := copyLetter(w, bufio.NewReaderSize(r, 64<<10), whole)
	if err != nil {
		w.Discard()
		var known *status.Error
		if errors.As(err, &known) {
			return nil, known
		}
		return nil, status.Errorf(status.IO, "read message: %w", err)
	}
	return w.Message()
}

func copyLetter(w io.Writer, r *bufio.Reader, whole bool) error {
	t := &tidy{w: bufio.NewWriterSize(w, 64<<10), header: true}
	lf := message.ToLF(t)
	for start, first := true, true; ; first = false {
		piece, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		text := bytes.TrimRight(piece, "\r\n")
		if !whole && start && len(text) == 1 && text[0] == '.' {
			break
		}
		if first && (bytes.HasPrefix(text, []byte("From ")) || bytes.HasPrefix(text, []byte(">From "))) {
			piece = nil // of an mbox
		}
		if _, err := lf.Write(piece); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		start = err == nil
	}
	if err := lf.Close(); err != nil {
		return err
	}
	return t.end()
}

// tidy makes lines of bytes in which CRLF is LF already. It keeps at most a line.
type tidy struct {
	w      *bufio.Writer
	line   []byte
	header bool // still in the header section
}

func (t *tidy) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		i := bytes.IndexAny(rest, "\n\r\x00")
		if i < 0 {
			i = len(rest)
		}
		if err := t.text(rest[:i]); err != nil {
			return 0, err
		}
		if i == len(rest) {
			break
		}
		if err := t.control(rest[i]); err != nil {
			return 0, err
		}
		rest = rest[i+1:]
	}
	return len(p), nil
}

// control takes a line end, a lone CR or a NUL.
func (t *tidy) control(c byte) error {
	switch {
	case c == 0:
		return nil
	case c == '\r' && t.header:
		return t.text([]byte{' '})
	}
	t.header = t.header && len(t.line) > 0
	return t.flush(len(t.line), "\n")
}

// text takes a part of a line and breaks off what is too long already.
func (t *tidy) text(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxTextLine+1-len(t.line))
		t.line = append(t.line, p[:n]...)
		p = p[n:]
		if len(t.line) <= maxTextLine {
			return nil
		}
		if err := t.fold(); err != nil {
			return err
		}
	}
	return nil
}

// fold breaks the line, which is one byte too long. In the header the next line begins with a blank.
func (t *tidy) fold() error {
	const near = 200 // so far back a blank is looked for
	cut := maxTextLine
	if i := bytes.LastIndexAny(t.line[maxTextLine-near:], " \t"); i >= 0 {
		cut = maxTextLine - near + i
	} else {
		for cut > maxTextLine-utf8.UTFMax && !utf8.RuneStart(t.line[cut]) {
			cut--
		}
	}
	blank := t.line[cut] == ' ' || t.line[cut] == '\t'
	end := "\n"
	if t.header && !blank {
		end = "\n "
	}
	if blank && !t.header {
		cut++ // stays at the end of its line
	}
	if cut > maxTextLine {
		cut, end = maxTextLine, "\n"
	}
	return t.flush(cut, end)
}

// flush writes the first n bytes of the line and a line end, and keeps the rest, behind what end has more.
func (t *tidy) flush(n int, end string) error {
	t.w.Write(t.line[:n]) // an error stays and is told by the next call
	if err := t.w.WriteByte('\n'); err != nil {
		return err
	}
	t.line = append(t.line[:0], t.line[n:]...)
	t.line = slices.Insert(t.line, 0, []byte(end[1:])...)
	return nil
}

// end writes a last line that had no end.
func (t *tidy) end() error {
	if len(t.line) > 0 {
		if err := t.flush(len(t.line), "\n"); err != nil {
			return err
		}
	}
	return t.w.Flush()
}
