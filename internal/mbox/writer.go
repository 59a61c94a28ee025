package mbox

import (
	"bufio"
	"bytes"
	"io"
	"time"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// Writer writes messages to a mailbox. After each message everything has been
// passed to the writer below. After an error the file may hold part of a message.
type Writer struct {
	w      *bufio.Writer
	format Format
	owed   string // line ends the last message is short of, should another follow
}

// NewWriter writes a mailbox to w. To append to a file, it must end in an empty line.
func NewWriter(w io.Writer, f Format) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, bufSize), format: f}
}

// WriteMessage writes the message r behind the From_ line that FromLine makes.
func (w *Writer) WriteMessage(from string, date time.Time, r io.Reader) error {
	return w.WriteRaw(FromLine(from, date), r)
}

// WriteRaw writes the message r behind the given From_ line. A newline is added
// to that line when it has none, and NoNewline when r does not end in one. The
// empty line behind the message ends as the From_ line does, in LF or CRLF. To
// know the end of r beforehand, it is spooled if it cannot seek. A line that
// does not start with "From ", or holds a newline, is an error of kind Data.
func (w *Writer) WriteRaw(fromLine []byte, r io.Reader) error {
	line, eol := cutEOL(fromLine)
	if !bytes.HasPrefix(line, from) || bytes.IndexByte(line, '\n') >= 0 || len(line)+len(NoNewline)+3 > maxFrom {
		return status.Errorf(status.Data, "not a From_ line: %q", line)
	}
	r, open, done, err := lookAhead(r)
	if err != nil {
		return err
	}
	defer done()
	short := hasRemark(line)
	if open && !short {
		line, short = append(bytes.Clone(line), " "+NoNewline...), true
	}
	var tail []byte
	if short {
		tail = append(tail, '\n')
	}
	return w.write(append(bytes.Clone(line), eol...), r, func() []byte { return append(tail, eol...) })
}

// Copy writes a message of a Reader as it was read: the same From_ line, and
// the same end. A mailbox whose messages are all copied into the same format
// comes out byte for byte, if it has no empty lines at its start, no message has
// a Suspect line (those are quoted), and an empty line stands before each From_
// line (else it is added).
func (w *Writer) Copy(m *Message) error {
	if err := w.write(m.FromLine, m.Body, func() []byte { return m.tail }); err != nil {
		return err
	}
	w.owed = m.owed
	return nil
}

// write puts one message out; tail is asked when r is read.
func (w *Writer) write(fromLine []byte, r io.Reader, tail func() []byte) error {
	// Errors of the bufio.Writer stay; Flush reports them.
	w.w.WriteString(w.owed)
	w.owed = ""
	w.w.Write(fromLine)
	if err := w.quote(bufio.NewReaderSize(r, bufSize)); err != nil {
		return err
	}
	w.w.Write(tail())
	return w.w.Flush()
}

// quote copies a message line by line.
func (w *Writer) quote(r *bufio.Reader) error {
	start := true
	for {
		if start {
			n := w.arrows(r)
			if b, _ := r.Peek(len(from)); bytes.Equal(b, from) && (n == 0 || w.format == RD) {
				w.w.WriteByte('>')
			}
		}
		part, err := r.ReadSlice('\n')
		if _, werr := w.w.Write(part); werr != nil {
			return werr
		}
		start = err == nil
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// arrows copies the ">" at the start of a line and counts them. One more may
// then be put behind them as well as before.
func (w *Writer) arrows(r *bufio.Reader) (n int) {
	for {
		b, err := r.Peek(1)
		if err != nil || b[0] != '>' {
			return n
		}
		b, _ = r.Peek(r.Buffered())
		run := len(b) - len(bytes.TrimLeft(b, ">"))
		w.w.Write(b[:run])
		r.Discard(run)
		n += run
	}
}

// cutEOL takes the line end off; without one it is "\n".
func cutEOL(line []byte) (text, eol []byte) {
	if t, ok := bytes.CutSuffix(line, []byte("\r\n")); ok {
		return t, []byte("\r\n")
	}
	return bytes.TrimSuffix(line, []byte("\n")), []byte("\n")
}

// lookAhead finds whether what is left of r ends inside a line, and returns a
// reader of it and a function to call when it was read.
func lookAhead(r io.Reader) (again io.Reader, open bool, done func(), err error) {
	s, ok := r.(io.ReadSeeker)
	var pos int64
	if ok {
		pos, err = s.Seek(0, io.SeekCurrent)
	}
	done = func() {}
	if !ok || err != nil {
		m, err := message.Spool(r, 0)
		if err != nil {
			return nil, false, nil, err
		}
		s, pos, done = m.Reader(), 0, func() { m.Close() }
	}
	open, err = endsOpen(s, pos)
	if err != nil {
		done()
		return nil, false, nil, err
	}
	return s, open, done, nil
}

func endsOpen(s io.ReadSeeker, pos int64) (bool, error) {
	end, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	open := false
	if end > pos {
		var last [1]byte
		if _, err := s.Seek(end-1, io.SeekStart); err != nil {
			return false, err
		}
		if _, err := io.ReadFull(s, last[:]); err != nil {
			return false, err
		}
		open = last[0] != '\n'
	}
	_, err = s.Seek(pos, io.SeekStart)
	return open, err
}
