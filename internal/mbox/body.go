package mbox

import (
	"bytes"
	"io"
)

// body is the text of one message. It works on the window of bytes that are
// buffered; pending is the part of it that is already consumed but not yet handed out.
//
// States: at the start of a line (mid is false) the line may end the message or
// be a quoted one; inside a line all bytes up to its newline are plain.
type body struct {
	r       *Reader
	m       *Message
	pending []byte
	mid     bool
	short   bool // the last newline is not the message's
	held    bool // a newline that may be that one is held back
	done    bool
	err     error // io.EOF or what the file gave, once done
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(b.pending) == 0 {
		if b.done {
			return 0, b.err
		}
		b.fill()
		if b.short {
			b.hold()
		}
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	return n, nil
}

// hold keeps the last newline of pending back until more is known.
func (b *body) hold() {
	switch {
	case b.done && b.held:
		b.m.tail = append([]byte{'\n'}, b.m.tail...)
		b.held = false
	case len(b.pending) == 0:
	case b.held:
		// The newline before this piece was not the last. Hand it out, and this
		// piece behind it.
		b.held = false
		b.pending = append([]byte{'\n'}, b.pending...)
		b.hold()
	case b.pending[len(b.pending)-1] == '\n':
		b.pending = b.pending[:len(b.pending)-1]
		b.held = true
	}
}

// fill makes some bytes pending, or ends the message.
func (b *body) fill() {
	if !b.mid && (b.atEnd() || b.unquote()) {
		return
	}
	if _, err := b.r.br.Peek(1); err != nil {
		b.finish(0, err)
		return
	}
	w := b.r.peek(b.r.br.Buffered())
	n, mid := plain(w)
	b.take(w, n, mid)
}

func (b *body) take(w []byte, n int, mid bool) {
	b.pending, b.mid = w[:n], mid
	b.r.discard(n)
}

func (b *body) finish(tail int, err error) {
	b.m.tail = bytes.Clone(b.r.peek(tail))
	b.r.discard(tail)
	switch {
	case b.mid:
		b.m.owed = "\n\n"
	case tail == 0:
		b.m.owed = "\n"
	}
	b.done, b.err = true, err
}

// atEnd looks, at the start of a line, for the end of the message, and passes
// over the empty line before it.
func (b *body) atEnd() bool {
	head := b.r.peek(len(from))
	if n := blankLen(head); n > 0 {
		_, err := b.r.br.Peek(n + 1)
		if err == io.EOF || b.r.begins(n) {
			b.finish(n, io.EOF)
		}
		return b.done
	}
	if !bytes.Equal(head, from) {
		return false
	}
	if b.r.begins(0) {
		b.finish(0, io.EOF)
		return true
	}
	b.m.Suspect++
	return false
}

// unquote drops one ">" of a quoted line. It does not matter which: when the
// run of them fills the buffer, those in front are handed out and the rest is looked at again.
func (b *body) unquote() bool {
	w := b.r.peek(len(from) + 1)
	if len(w) == 0 || w[0] != '>' {
		return false
	}
	n := 1
	if b.r.format == RD {
		w = b.r.peek(b.r.br.Buffered())
		n = len(w) - len(bytes.TrimLeft(w, ">"))
		if n > bufSize/2 {
			b.take(w, n-1, false)
			return true
		}
		w = b.r.peek(n + len(from))
	}
	if bytes.HasPrefix(w[n:], from) {
		b.r.discard(1)
		b.mid = true
	}
	return false
}

// plain is how many bytes of w, which starts inside a line or at a line that
// needs no care, can be handed out as they are, and whether the last is inside a line.
func plain(w []byte) (n int, mid bool) {
	for {
		i := bytes.IndexByte(w[n:], '\n')
		if i < 0 {
			return len(w), true
		}
		n += i + 1
		if n == len(w) {
			return n, false
		}
		switch w[n] {
		case '\n', '\r', 'F', '>':
			return n, false
		}
	}
}
