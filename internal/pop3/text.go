package pop3

import (
	"bufio"
	"bytes"
	"io"
)

// writeText writes a message as the end of a reply of several lines (RFC 1939
// section 3): line ends as CRLF, a dot before a leading dot, and a line with a
// dot behind it. If lines is not negative, it stops after so many lines of the
// body. It returns the number of bytes of the message that were taken.
func writeText(w *bufio.Writer, r io.Reader, lines int64) (int64, error) {
	br := bufio.NewReaderSize(r, 32<<10)
	t := text{w: w, start: true, header: true}
	for {
		if t.start && !t.header && lines >= 0 {
			if lines == 0 {
				break
			}
			lines--
		}
		part, err := br.ReadSlice('\n')
		t.put(part)
		if err == io.EOF {
			break
		}
		if err != nil && err != bufio.ErrBufferFull {
			return t.n, err
		}
	}
	if !t.start {
		w.WriteString("\r\n")
	}
	_, err := w.WriteString(".\r\n")
	return t.n, err
}

// text is where the writing of a message stands.
type text struct {
	w      *bufio.Writer
	n      int64
	start  bool // at the start of a line
	header bool // the empty line is yet to come
	cr     bool // the last byte was CR
}

// put writes a line, or a part of one that is longer than the buffer.
func (t *text) put(part []byte) {
	if len(part) == 0 {
		return
	}
	t.n += int64(len(part))
	if t.start && part[0] == '.' {
		t.w.WriteByte('.')
	}
	body, ended := bytes.CutSuffix(part, []byte("\n"))
	if len(body) > 0 {
		t.w.Write(body)
		t.cr = body[len(body)-1] == '\r'
	}
	if ended {
		if t.cr {
			t.w.WriteByte('\n')
		} else {
			t.w.WriteString("\r\n")
		}
		if t.start && (len(body) == 0 || string(body) == "\r") {
			t.header = false
		}
		t.cr = false
	}
	t.start = ended
}
