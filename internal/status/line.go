package status

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxText is the longest text in bytes that is shown of an error: with code and enhanced code it fits the 512 bytes of
// a reply line (RFC 5321 section 4.5.3.1.5).
const MaxText = 480

// ParseLine reads "550 5.7.1 text" or "450 text". It is false for anything else, also for a success code: a program
// that failed cannot say 250. An enhanced code of another class than the code is replaced by the class's x.0.0.
func ParseLine(line string) (*Error, bool) {
	line = strings.TrimRight(line, "\r\n")
	if len(line) < 3 || !digits(line[:3]) || (line[0] != '4' && line[0] != '5') || (len(line) > 3 && line[3] != ' ') {
		return nil, false
	}
	code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	class := classOfCode(code)
	e := &Error{Class: class, Code: code, Enhanced: defaultEnhanced(class), Exit: exitOfClass(class)}
	rest := strings.TrimLeft(line[3:], " ")
	if word, text, _ := strings.Cut(rest, " "); validEnhanced(word) {
		if word[0] == line[0] {
			e.Enhanced = word
		}
		rest = strings.TrimLeft(text, " ")
	}
	e.Text = Escape(rest, MaxText)
	if e.Text == "" {
		e.Text = class.String() + " failure"
	}
	return e, true
}

// SplitEnhanced cuts an enhanced status code (RFC 3463 section 2) off the head of a text, or returns "" and the text.
func SplitEnhanced(text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if validEnhanced(word) {
		return word, rest
	}
	return "", text
}

// validEnhanced is class "." subject "." detail of RFC 3463 section 2: one digit of 2 4 5, then twice one to three digits.
func validEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || !strings.Contains("245", parts[0]) {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) < 1 || len(p) > 3 || !digits(p) || (len(p) > 1 && p[0] == '0') {
			return false
		}
	}
	return true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Escape makes one printable line of at most max bytes of s: control characters, invalid UTF-8, separators and
// invisible characters become \xNN or \u{N}, and what does not fit is replaced by "...". Use it on everything that comes from outside before it
// is put into a reply, a log or a report.
func Escape(s string, max int) string {
	if len(s) <= max && isPlain(s) {
		return s
	}
	const more = "..."
	var b strings.Builder
	fits := 0 // length up to which "..." still fits
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		piece := s[:n]
		switch {
		case r == utf8.RuneError && n == 1, r < 0x20, r == 0x7f:
			piece = fmt.Sprintf(`\x%02x`, s[0])
		case !unicode.IsPrint(r):
			piece = fmt.Sprintf(`\u{%x}`, r)
		}
		if b.Len()+len(piece) > max {
			return b.String()[:fits] + more[:min(len(more), max-fits)]
		}
		b.WriteString(piece)
		if b.Len()+len(more) <= max {
			fits = b.Len()
		}
		s = s[n:]
	}
	return b.String()
}

// isPlain tells whether all is ASCII that prints, which nearly everything is.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
