package smtp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// recordedPiece is the longest part of a line in a recording; a longer one stands in several steps.
const recordedPiece = 2000

// NewRecording is a Transcript in the form of a dialog, which can be played again: "-> TEXT" is a line that the client sent,
// "=> TEXT" is what it sent else, with Go escapes, "<- TEXT" is a line of the server and "<- EOF" the end of the connection
// by the server. Message data is in it; secrets of AUTH stand as [redacted], remarks follow "# ".
func NewRecording(w io.Writer, role Role) *Transcript {
	return &Transcript{w: w, role: role, dialog: true}
}

// message records bytes of message data as lines.
func (t *Transcript) message(b []byte) {
	if !t.dialog {
		return
	}
	t.text = append(t.text, b...)
	for {
		n := bytes.IndexByte(t.text, '\n') + 1
		if n == 0 || n > recordedPiece {
			n = recordedPiece
		}
		if len(t.text) < n {
			return
		}
		t.sent(t.text[:n])
		t.text = t.text[n:]
	}
}

// messageEnd records what has no line end, or outside of a recording how much there was.
func (t *Transcript) messageEnd(remark string, n int64) {
	if !t.dialog {
		t.print("-> ", fmt.Sprintf("[%d bytes of message%s]", n, remark))
		return
	}
	t.sent(t.text)
	t.text = nil
}

// sent records bytes of the client as one step.
func (t *Transcript) sent(b []byte) {
	if len(b) == 0 {
		return
	}
	line := "=> " + escapeStep(b)
	if text, ok := bytes.CutSuffix(b, []byte("\r\n")); ok && isPlain(text) {
		line = "->"
		if len(text) > 0 {
			line = "-> " + string(text)
		}
	}
	io.WriteString(t.w, line+"\n")
}

// isPlain says whether text can stand in a line of a dialog as it is.
func isPlain(text []byte) bool {
	return utf8.Valid(text) && bytes.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}

// escapeStep writes bytes with Go escapes; a quotation mark needs none there.
func escapeStep(b []byte) string {
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

// endRecord ends the recording of the session, and says when it was the server that closed the connection.
func (s *session) endRecord() {
	s.record.Flush()
	if s.lost == nil {
		io.WriteString(s.recordTo, "<- EOF\n")
	}
	s.recordTo.Close()
}
