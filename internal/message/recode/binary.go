package recode

import (
	"bufio"
	"encoding/base64"
	"io"
	"strings"

	"pennypost/internal/message"
)

// Unbinary writes m, a message with BODY=BINARYMIME (RFC 3030 section 3) and CRLF line ends, to w as one that may be kept and
// sent as lines: each part whose Content-Transfer-Encoding is binary becomes base64, and what holds such parts is labelled
// 8bit, as RFC 3030 section 3 wants of those who pass it on to somebody who cannot take it. All other bytes stay, and are to be
// looked at by the caller: that a message is labelled does not keep it from having a bare LF elsewhere.
//
// Delimiters of multiparts are lines between two CRLF; a bare LF in a binary part makes none. A signed part that would have to
// be changed is a permanent error with 554 5.6.3 (RFC 1847 section 2.1 has 7 bits there).
func Unbinary(w io.Writer, m *message.Message) error {
	p := &plan{need: Need{text: true}, r: bufio.NewReaderSize(m.Reader(), 64<<10)}
	if err := p.read(); err != nil {
		return err
	}
	return apply(w, m, p.edits)
}

// textual takes the label binary off a header: its body is edited, or what is in it.
func (p *plan) textual(h *header, signed bool, mechanism string) error {
	if signed {
		return errSigned
	}
	p.edits = append(p.edits, h.unlabel()...)
	p.edits = append(p.edits, insert(h.end, h.labels(false, mechanism)))
	return nil
}

// unbinary ends a binary part.
func (p *plan) unbinary(c part, span message.Span, last bool) error {
	kind := c.head.kind()
	if strings.HasPrefix(kind, "message/") || strings.HasPrefix(kind, "multipart/") { // RFC 2046 section 5: no encoding
		return p.textual(c.head, c.signed, "8bit")
	}
	if err := p.textual(c.head, c.signed, "base64"); err != nil {
		return err
	}
	end := "" // the delimiter behind it begins with a CRLF
	if last {
		end = "\r\n"
	}
	p.edits = append(p.edits, edit{span, func(w io.Writer, old io.Reader) error { return encode64(w, old, end) }})
	return nil
}

const perLine = maxEncoded / 4 * 3 // bytes that fill a line of base64

// encode64 writes lines of base64 (RFC 2045 section 6.8) with CRLF between them, and end behind them.
func encode64(w io.Writer, old io.Reader, end string) error {
	in, line := bufio.NewReaderSize(old, 64<<10), make([]byte, perLine)
	var out []byte
	for sep := ""; ; sep = "\r\n" {
		n, err := io.ReadFull(in, line)
		if n > 0 {
			out = base64.StdEncoding.AppendEncode(append(out[:0], sep...), line[:n])
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			_, err = io.WriteString(w, end)
			return err
		}
		if err != nil {
			return err
		}
	}
}
