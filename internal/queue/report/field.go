package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

const (
	foldAt    = 76  // columns, where there is a blank (RFC 5322 section 2.1.1 recommends 78)
	longestID = 250 // bytes of a Message-ID that is repeated
)

// field writes a header field, folded at its blanks. The value is one printable line.
func field(w io.Writer, name, value string) {
	col := len(name) + 1
	fmt.Fprintf(w, "%s:", name)
	for _, word := range strings.Split(value, " ") {
		if word != "" && col+1+len(word) > foldAt && col > len(name)+1 {
			io.WriteString(w, "\n")
			col = 0
		}
		col += 1 + len(word)
		io.WriteString(w, " "+word)
	}
	io.WriteString(w, "\n")
}

// words makes text from outside fit a field: one printable line of at most maxWords bytes, as ASCII unless utf8 is allowed,
// with \x{HEX} for what is not (RFC 6533 section 3).
func words(s string, utf8 bool) string {
	s = status.Escape(s, maxWords)
	if utf8 || ascii(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		piece := string(r)
		if r >= 0x80 {
			piece = fmt.Sprintf(`\x{%X}`, r)
		}
		if b.Len()+len(piece) > maxWords {
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// messageID is the value of a Message-ID field if it can be repeated as it is, else "".
func messageID(v string) string {
	if len(v) < 3 || len(v) > longestID || v[0] != '<' || v[len(v)-1] != '>' {
		return ""
	}
	for _, c := range []byte(v[1 : len(v)-1]) {
		if c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return ""
		}
	}
	return v
}

// hostName is our name as an address can have it.
func hostName(name string) string {
	if a, err := envelope.Parse("MAILER-DAEMON@" + name); err == nil && a.Domain != "" {
		if a, err = a.ASCII(); err == nil {
			return a.Domain
		}
	}
	return "localhost"
}

// xtext decodes RFC 3461 section 4. What is no xtext is taken as it is.
func xtext(s string) string {
	if plain, ok := envelope.FromXtext(s); ok {
		return plain
	}
	return s
}
