// Package dialog is the text form of a session by lines: what one side says and what the other is expected to say. It is
// the log of a session, the language of tests, and what a client or a server can follow; see smtp-transcript(5).
//
// It hides the syntax and the order of play. It knows no protocol: it guarantees only that what Format writes Parse reads
// as the same steps, that a step is carried out after the one before it, and that no wait is longer than it was told.
package dialog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Side is an end of the connection.
type Side uint8

const (
	Client Side = iota
	Server
)

// Kind says what a step is.
type Kind uint8

const (
	Line    Kind = iota // Text and CRLF; what is awaited may begin with Text, where that ends in "..."
	Raw                 // Text as it is
	Pattern             // a line that matches; it can only be awaited
	Message             // so many bytes of a message that nobody kept
	EOF                 // the side ends the connection
	Reset               // the side ends it with a reset
	Pause               // nothing for a time; of no side
	TLS                 // both change to TLS; of no side
)

// Redacted stands for a secret in a line of the client.
const Redacted = "[redacted]"

// Step is one line of a dialog.
type Step struct {
	Side   Side
	Kind   Kind
	Text   string         // of Line and Raw, the parameters of TLS, and the pattern as it was written
	Bytes  int64          // of Message
	Time   time.Duration  // of Pause
	Match  *regexp.Regexp // of Pattern
	Number int            // of the line it was read from, counted from 1
}

// String is the step as a line of a dialog, without its end.
func (s Step) String() string {
	line, raw, pattern := "-> ", "=> ", "~> "
	if s.Side == Server {
		line, raw, pattern = "<- ", "<= ", "<~ "
	}
	switch s.Kind {
	case Raw:
		return raw + Escape([]byte(s.Text))
	case Pattern:
		return pattern + s.Text
	case Message:
		return fmt.Sprintf("%s[%d bytes of message]", line, s.Bytes)
	case EOF:
		return line + "EOF"
	case Reset:
		return line + "RESET"
	case Pause:
		return "~~ " + s.Time.String()
	case TLS:
		return strings.TrimRight("== TLS "+s.Text, " ")
	}
	if s.Text == "" {
		return line[:2]
	}
	return line + s.Text
}

// Said is the step for bytes that a side has said: as a line, where it is one that can be written so.
func Said(side Side, b []byte) Step {
	if text, ok := strings.CutSuffix(string(b), "\r\n"); ok && isPlain(text) && !special(text) {
		return Step{Side: side, Kind: Line, Text: text}
	}
	return Step{Side: side, Kind: Raw, Text: string(b)}
}

// isPlain says whether text can stand in a line of a dialog as it is.
func isPlain(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}

// special says whether text would be read as something else than itself.
func special(text string) bool {
	return text == "EOF" || text == "RESET" || text == Redacted || strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]")
}

// Escape writes bytes with Go escapes; a quotation mark needs none there.
func Escape(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		switch {
		case c == '\r':
			s.WriteString(`\r`)
		case c == '\n':
			s.WriteString(`\n`)
		case c == '\\':
			s.WriteString(`\\`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&s, `\x%02x`, c)
		default:
			s.WriteByte(c)
		}
	}
	return s.String()
}

// unescape resolves the escapes of Go strings but \".
func unescape(s string) (string, error) {
	var b []byte
	for len(s) > 0 {
		r, multibyte, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return "", err
		}
		if s = rest; multibyte {
			b = utf8.AppendRune(b, r)
		} else {
			b = append(b, byte(r))
		}
	}
	return string(b), nil
}

// Sessions cuts steps into connections: one is over when a side has ended it.
func Sessions(steps []Step) [][]Step {
	var all [][]Step
	begin := 0
	for i, s := range steps {
		if s.Kind == EOF || s.Kind == Reset || i == len(steps)-1 {
			all = append(all, steps[begin:i+1])
			begin = i + 1
		}
	}
	return all
}
