// Package recode rewrites a message so that it can go where only 7-bit bytes, or only lines of up to 998 bytes, may.
//
// It hides how MIME (RFC 2045, RFC 2046) is taken apart for that. It guarantees that every part decodes to the same bytes
// as before, that parts which need no change keep theirs, and that memory does not grow with the size of the message. The
// conversion is that of RFC 6152 section 3, with quoted-printable; text in an unknown character set is labelled by RFC 1428.
// Header fields keep their bytes, 8-bit ones too: nobody knows what they mean. What a DKIM signature covers changes.
package recode

import (
	"bufio"
	"cmp"
	"io"
	"slices"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// MaxLine is the longest line that may be sent, in bytes without its end (RFC 5321 section 4.5.3.1.6).
const MaxLine = 998

const (
	maxParts = 10_000 // of a message
	maxDepth = 100    // of parts in parts
)

// Need is what the way of the message asks for.
type Need struct {
	SevenBit bool // no bytes over 127 in bodies
	Lines    bool // no lines over MaxLine

	text bool // no binary parts, see Unbinary
}

// Rewrite returns the message in the form that is needed, which the caller closes; m stays the caller's. A message that cannot
// be brought into it is refused for good with 554 5.6.3: a signed part would have to be changed, or a header field has a
// word that is longer than a line, or an encoding that we do not know has bytes it must not have.
func Rewrite(m *message.Message, n Need) (*message.Message, error) {
	p := &plan{need: n, r: bufio.NewReaderSize(m.Reader(), 64<<10)}
	if err := p.read(); err != nil {
		return nil, err
	}
	w := message.NewWriter(0)
	if err := apply(w, m, p.edits); err != nil {
		w.Discard()
		return nil, err
	}
	return w.Message()
}

// refuse is the verdict on a message that must stay as it is.
func refuse(format string, a ...any) error {
	return status.Errorf(status.HardFail, "convert the message: "+format, a...).WithReply(554, "5.6.3")
}

// edit replaces a part of the message by what make writes for it.
type edit struct {
	span message.Span
	make func(w io.Writer, old io.Reader) error
}

// insert is an edit that puts text into the message.
func insert(at int64, text string) edit {
	return edit{message.Span{Off: at}, func(w io.Writer, _ io.Reader) error {
		_, err := io.WriteString(w, text)
		return err
	}}
}

// remove is an edit that takes bytes away.
func remove(s message.Span) edit {
	return edit{s, func(io.Writer, io.Reader) error { return nil }}
}

var errSigned = refuse("a part of it is signed and would have to be changed")

// apply copies m to w with the edits, which do not overlap.
func apply(w io.Writer, m *message.Message, edits []edit) error {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.span.Off, b.span.Off) })
	out := bufio.NewWriterSize(w, 64<<10)
	at := int64(0)
	for _, e := range append(edits, edit{span: message.Span{Off: m.Size()}}) {
		if _, err := io.Copy(out, io.NewSectionReader(m, at, e.span.Off-at)); err != nil {
			return err
		}
		if at = e.span.Off + e.span.Len; e.make == nil {
			break
		}
		if err := e.make(out, io.NewSectionReader(m, e.span.Off, e.span.Len)); err != nil {
			return err
		}
	}
	return out.Flush()
}
