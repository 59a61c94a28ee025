package smtp

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"pennypost/internal/dialog"
	"pennypost/internal/status"
)

// recordedPiece is the longest part of a line in a recording; a longer one stands in several steps.
const recordedPiece = 2000

// NewRecording is a Transcript in the form of a dialog, which can be played again; see smtp-transcript(5). Message data is in
// it; secrets of AUTH stand as [redacted], remarks follow "# ". The end of the connection by our side is in that of a client;
// a server's engine adds it itself.
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
	if len(b) > 0 {
		t.step(dialog.Said(dialog.Client, b))
	}
}

func (t *Transcript) step(s dialog.Step) { io.WriteString(t.w, s.String()+"\n") }

// printStep records a line of the transcript as a step.
func (t *Transcript) printStep(mark, line string, bare bool) {
	end := "\r\n"
	if bare {
		end = "\n"
	}
	switch {
	case mark == "-> " && strings.Contains(line, dialog.Redacted):
		t.step(dialog.Step{Side: dialog.Client, Kind: dialog.Line, Text: line})
	case mark == "-> ":
		t.sent([]byte(line + end))
	case mark == "<- ":
		t.step(dialog.Said(dialog.Server, []byte(line+end)))
	default:
		io.WriteString(t.w, "# "+status.Escape(line, transcriptLine)+"\n")
	}
}

// endRecord ends the recording of the session, and says when it was the server that closed the connection.
func (s *session) endRecord() {
	s.record.Flush()
	if s.lost == nil {
		io.WriteString(s.recordTo, "<- EOF\n")
	}
	s.recordTo.Close()
}
