package imap

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

func arrival(c *candidate) (time.Time, bool, error) {
	err := c.load(c.box, needFile)
	return c.view.date, true, err
}

func sentDate(c *candidate) (time.Time, bool, error) {
	if err := c.load(c.box, needHeader); err != nil {
		return time.Time{}, false, err
	}
	t, err := mail.ParseDate(strings.TrimSpace(c.root.fields["date"]))
	return t, err == nil, nil
}

// inHeader is true when a field of that name has the text in it; an empty text only asks for the field.
func inHeader(name, text string) criterion {
	text = strings.ToLower(text)
	return criterion{cost: needHeader, match: func(c *candidate) (bool, error) {
		if err := c.load(c.box, needFile); err != nil {
			return false, err
		}
		value, ok, err := parseField(io.NewSectionReader(c.file, 0, 1<<62), name)
		if !ok || err != nil {
			return false, err
		}
		return hasText(value, text), nil
	}}
}

// hasText looks for text, in lower case, in a header field as it stands and with its encoded words
// (RFC 2047) decoded.
func hasText(value, text string) bool {
	if strings.Contains(strings.ToLower(value), text) {
		return true
	}
	if !strings.Contains(value, "=?") {
		return false
	}
	words := mime.WordDecoder{CharsetReader: charset.Reader}
	for line := range strings.SplitSeq(value, "\n") {
		decoded, err := words.DecodeHeader(line)
		if err == nil && strings.Contains(strings.ToLower(decoded), text) {
			return true
		}
	}
	return false
}

// inText looks for text in the body, or with header in the whole message: as the bytes stand, and as the
// text parts read when they are decoded.
func inText(text string, header bool) criterion {
	text = strings.ToLower(text)
	return criterion{cost: needParts, match: func(c *candidate) (bool, error) {
		if err := c.load(c.box, needParts); err != nil {
			return false, err
		}
		from := c.root.body
		if header {
			from = c.root.header
			for _, name := range messageFields {
				if hasText(c.root.fields[name], text) {
					return true, nil
				}
			}
		}
		found, err := contains(slice(c.file, from, c.root.end), text)
		if found || err != nil {
			return found, err
		}
		return inParts(c.file, c.root, text)
	}}
}

func slice(ra io.ReaderAt, from, to pos) io.Reader {
	return io.NewSectionReader(ra, from.raw, to.raw-from.raw)
}

// inParts looks into the text parts that are encoded.
func inParts(ra io.ReaderAt, p *part, text string) (bool, error) {
	below := p.children
	if p.message != nil {
		below = []*part{p.message}
	}
	for _, c := range below {
		if found, err := inParts(ra, c, text); found || err != nil {
			return found, err
		}
	}
	if len(below) > 0 || !p.typ.isText() {
		return false, nil
	}
	r, encoded := decodeBody(slice(ra, p.body, p.end), p.encoding())
	set := strings.ToLower(p.typ.param("charset"))
	if set != "" && set != "us-ascii" && set != "utf-8" {
		if converted, err := charset.Reader(set, r); err == nil {
			r, encoded = converted, true
		}
	}
	if !encoded {
		return false, nil // the bytes as they stand were looked at
	}
	return contains(r, text)
}

func decodeBody(r io.Reader, encoding string) (io.Reader, bool) {
	switch strings.ToLower(encoding) {
	case "base64":
		return tolerant{base64.NewDecoder(base64.StdEncoding, alphabet{r})}, true
	case "quoted-printable":
		return tolerant{quotedprintable.NewReader(r)}, true
	}
	return r, false
}

// A tolerant reader ends where its decoder finds an error: what could be decoded is looked at. The bytes below
// it were read once already, so that trouble with the file is not hidden.
type tolerant struct{ r io.Reader }

func (t tolerant) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// An alphabet passes on only the characters of base64, as RFC 2045 section 6.8 wants it.
type alphabet struct{ r io.Reader }

func (a alphabet) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	out := 0
	for _, c := range p[:n] {
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '=' {
			p[out] = c
			out++
		}
	}
	return out, err
}

// contains looks for text, which is in lower case, in what r gives, without regard to case and in
// bounded memory.
func contains(r io.Reader, text string) (bool, error) {
	f := &finder{text: []byte(text)}
	_, err := io.Copy(f, r)
	if errors.Is(err, errFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("search a message: %w", err)
	}
	return f.ends(), nil
}

var errFound = errors.New("found")

// A finder keeps the end of what it saw, as long as a match may begin in it.
type finder struct {
	text []byte
	seen []byte // in lower case
	rest []byte // the beginning of a character
}

func (f *finder) Write(p []byte) (int, error) {
	f.rest = append(f.rest, p...)
	whole := len(f.rest) - unfinished(f.rest)
	f.seen = appendLower(f.seen, f.rest[:whole])
	f.rest = append(f.rest[:0], f.rest[whole:]...)
	if bytes.Contains(f.seen, f.text) {
		return len(p), errFound
	}
	if keep := len(f.text); len(f.seen) > keep {
		f.seen = append(f.seen[:0], f.seen[len(f.seen)-keep:]...)
	}
	return len(p), nil
}

// appendLower is bytes.ToLower without an allocation for plain ASCII.
func appendLower(to, b []byte) []byte {
	for i, c := range b {
		if c >= utf8.RuneSelf {
			return append(to, bytes.ToLower(b[i:])...)
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

// ends tells whether the text is at the very end, or is empty.
func (f *finder) ends() bool {
	return bytes.Contains(append(f.seen, bytes.ToLower(f.rest)...), f.text)
}

// unfinished counts the bytes at the end that begin a character of UTF-8 and do not end it.
func unfinished(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}
