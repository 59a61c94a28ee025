package recode

import (
	"bufio"
	"io"
	"mime/quotedprintable"
)

// maxEncoded is the length of a line of encoded text (RFC 2045 section 6.7).
const maxEncoded = 76

// quote writes quoted-printable. Line ends stay line ends.
func quote(w io.Writer, old io.Reader) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.Copy(q, old); err != nil {
		return err
	}
	return q.Close()
}

const hexDigits = "0123456789ABCDEF"

// mendQuoted brings text that claims to be quoted-printable into its form: it encodes bytes over 127 and breaks long lines,
// and leaves all else as it is.
func mendQuoted(w io.Writer, old io.Reader) error {
	r, out := bufio.NewReader(old), bufio.NewWriter(w)
	column, word := 0, 0 // word: bytes of an =XX that are still to come
	for {
		c, err := r.ReadByte()
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if c == '\n' || c == '\r' {
			column, word = 0, 0
			out.WriteByte(c)
			continue
		}
		if word == 0 && column >= maxEncoded-3 && !lineEndNext(r, c) {
			out.WriteString("=\n")
			column = 0
		}
		switch {
		case c >= 0x80:
			out.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
			column, word = column+3, 0
			continue
		case c == '=':
			word = 2
		case word > 0:
			word--
		}
		out.WriteByte(c)
		column++
	}
}

// lineEndNext says that c is the = before a line end: a break that is there already.
func lineEndNext(r *bufio.Reader, c byte) bool {
	next, err := r.Peek(1)
	return c == '=' && (err != nil || next[0] == '\n' || next[0] == '\r')
}

// breakBase64 breaks lines of base64, in which a line end means nothing.
func breakBase64(w io.Writer, old io.Reader) error {
	return breakLines(w, old, maxEncoded, func(c byte) byte { return c })
}

// flatten makes of text that nobody reads what may be sent: short lines of 7 bits.
func flatten(w io.Writer, old io.Reader) error {
	return breakLines(w, old, MaxLine, func(c byte) byte {
		if c >= 0x80 {
			return '?'
		}
		return c
	})
}

func breakLines(w io.Writer, old io.Reader, max int, as func(byte) byte) error {
	r, out := bufio.NewReader(old), bufio.NewWriter(w)
	column := 0
	for {
		c, err := r.ReadByte()
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		switch {
		case c == '\n' || c == '\r':
			column = 0
		case column == max:
			out.WriteByte('\n')
			column = 1
		default:
			column++
		}
		out.WriteByte(as(c))
	}
}
