package dkim

import (
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"

	"pennypost/internal/lazy"
)

// maxParts is how many parts of a multipart are decoded on trial.
const maxParts = 10

// quotedPart is a part of a multipart that is in quoted-printable: where its encoding and its content are in the body.
type quotedPart struct{ encoding, content place }

var quotedField = lazy.Regexp(`(?i)^content-transfer-encoding:[ \t]*(quoted-printable)[ \t]*\r?\n?$`)

// quotedParts finds the parts by their lines alone: a header after a delimiter, its end, and the next line that begins as that
// delimiter (RFC 2046 section 5.1.1).
func quotedParts(text []byte) (out []quotedPart) {
	var p quotedPart
	var delimiter []byte
	inHeader := false
	for at := 0; at < len(text) && len(out) < maxParts; {
		line := text[at:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		word := bytes.TrimRight(line, " \t\r\n")
		switch {
		case p.content.from > 0:
			if bytes.HasPrefix(word, delimiter) {
				p.content.to = max(p.content.from, len(trimEOL(text[:at]))) // the line end before it belongs to the delimiter
				out, p, inHeader = append(out, p), quotedPart{}, true
			}
		case len(word) > 2 && bytes.HasPrefix(word, []byte("--")):
			delimiter, p, inHeader = word, quotedPart{}, true
		case inHeader && len(word) == 0:
			inHeader = false
			if p.encoding.to > 0 {
				p.content.from = at + len(line)
			}
		case inHeader:
			if m := quotedField().FindSubmatchIndex(line); m != nil {
				p.encoding = place{at + m[2], at + m[3]}
			}
		}
		at += len(line)
	}
	return out
}

// decodeParts gives a body to try with its parts in quoted-printable as 8bit, all of them and each alone.
func decodeParts(text []byte, try func([]byte, Repair)) {
	parts := quotedParts(text)
	if len(parts) == 0 {
		return
	}
	try(withoutQuotes(text, parts), Repair{Kind: RepairDecodeParts, Text: "every part in quoted-printable"})
	if len(parts) == 1 {
		return
	}
	for i := range parts {
		try(withoutQuotes(text, parts[i:i+1]), Repair{Kind: RepairDecodeParts, Text: fmt.Sprintf("part %d in quoted-printable", i+1)})
	}
}

// withoutQuotes is the body with some parts decoded; what cannot be decoded stays.
func withoutQuotes(text []byte, parts []quotedPart) []byte {
	out := make([]byte, 0, len(text))
	at := 0
	for _, p := range parts {
		decoded, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(text[p.content.from:p.content.to])))
		if err != nil {
			continue
		}
		out = append(append(out, text[at:p.encoding.from]...), "8bit"...)
		out = append(append(out, text[p.encoding.to:p.content.from]...), decoded...)
		at = p.content.to
	}
	return append(out, text[at:]...)
}
