package report

import (
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// wireLimits are what a message must keep to that is returned whole, since message/rfc822 cannot be encoded (RFC 2046 section
// 5.2.1).
var wireLimits = message.Limits{Line: 1000, NUL: true}

// returned is the last part: the whole message, or its header.
func (d *draft) returned() (part, error) {
	if !d.wantsFull() {
		return d.headers("The header of the message is attached."), nil
	}
	switch err := message.Check(d.Message.Reader(), wireLimits); {
	case isViolation(err):
		return d.headers("Only the header of the message is attached, since the rest cannot be sent in a report."), nil
	case err != nil:
		return part{}, status.Errorf(status.IO, "read the message for a report: %w", err)
	case d.Message.Size() > MaxFull:
		return d.headers("Only the header of the message is attached, since the whole is too big."), nil
	}
	body, err := io.ReadAll(d.Message.Reader())
	if err != nil {
		return part{}, status.Errorf(status.IO, "read the message for a report: %w", err)
	}
	p := part{kind: "message/rfc822", encoding: "7bit", what: "The message is attached.",
		body: strings.ReplaceAll(string(body), "\r\n", "\n")}
	if !ascii(p.body) {
		p.encoding = "8bit"
	}
	if d.global && !ascii(p.body[:min(int(d.header.Size), len(p.body))]) {
		p.kind = "message/global"
	}
	return p, nil
}

// wantsFull is RET=FULL, which counts only where there is a failure (RFC 3461 section 4.3) and not for a message that may go
// by TLS only (RFC 8689 section 5).
func (d *draft) wantsFull() bool {
	if !strings.EqualFold(d.Envelope.Ret, "FULL") || d.Envelope.RequireTLS {
		return false
	}
	for _, r := range d.told {
		if r.Action == Failed {
			return true
		}
	}
	return false
}

func isViolation(err error) bool {
	var v *message.Violation
	return errors.As(err, &v)
}

// headers returns the header fields of the message up to MaxHeaders. Being text they can be encoded, whatever is in them.
func (d *draft) headers(what string) part {
	var b strings.Builder
	for _, f := range d.header.Fields {
		if b.Len()+len(f.Raw) > MaxHeaders {
			what = "The beginning of the message's header is attached."
			break
		}
		b.WriteString(strings.ReplaceAll(string(f.Raw), "\r\n", "\n"))
	}
	text := b.String()
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	p := part{kind: "text/rfc822-headers", encoding: "7bit", body: text, what: what}
	sendable := message.Check(strings.NewReader(text), wireLimits) == nil
	switch {
	case sendable && ascii(text):
	case d.global && sendable && utf8.ValidString(text):
		p.kind, p.encoding = "message/global-headers", "8bit"
	default:
		p.kind, p.encoding, p.body = p.kind+"; charset="+charset(text), "quoted-printable", printable(text)
	}
	return p
}

// charset names what text is in: nobody knows for 8-bit bytes that are not UTF-8 (RFC 1428).
func charset(text string) string {
	switch {
	case ascii(text):
		return "us-ascii"
	case utf8.ValidString(text):
		return "utf-8"
	}
	return "unknown-8bit"
}

// printable is text in quoted-printable with LF line ends.
func printable(text string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	io.WriteString(w, text) // a Builder takes everything
	w.Close()
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}
