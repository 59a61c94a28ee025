package recode

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"pennypost/internal/message"
)

// header is what matters of the header of a part.
type header struct {
	message     bool  // of a message, not of a part of a multipart
	none        bool  // the message has no header at all
	end         int64 // where it ends: the empty line
	fields      []field
	size        int64
	mimeVersion bool
	contentType string // unfolded
	mechanism   string // of Content-Transfer-Encoding, in lower case
	eol         string
}

// field is where a field is, and whether one of its lines is too long.
type field struct {
	name string // in lower case
	span message.Span
	raw  []byte // of the first of each name of interest
	long bool
}

// add takes a line of the header.
func (h *header) add(line []byte, at, text int64) error {
	if h.size += int64(len(line)); h.size > message.MaxHeader || len(h.fields) > message.MaxFields {
		return refuse("a header has more than %d bytes or %d fields", message.MaxHeader, message.MaxFields)
	}
	if h.eol == "" {
		h.eol = "\n"
		if bytes.HasSuffix(line, []byte("\r\n")) {
			h.eol = "\r\n"
		}
	}
	if n := len(h.fields); n > 0 && (line[0] == ' ' || line[0] == '\t') {
		f := &h.fields[n-1]
		f.span.Len += int64(len(line))
		f.long = f.long || text > MaxLine
		if f.raw != nil {
			f.raw = append(f.raw, line...)
		}
		return nil
	}
	name, _, _ := bytes.Cut(line, []byte(":"))
	f := field{name: strings.ToLower(string(bytes.TrimRight(name, " \t"))), span: message.Span{Off: at, Len: int64(len(line))}, long: text > MaxLine}
	if ofInterest[f.name] && !h.has(f.name) {
		f.raw = bytes.Clone(line)
	}
	h.fields = append(h.fields, f)
	return nil
}

const transferEncoding = "content-transfer-encoding"

var ofInterest = map[string]bool{"content-type": true, transferEncoding: true, "mime-version": true}

func (h *header) has(name string) bool {
	return slices.ContainsFunc(h.fields, func(f field) bool { return f.name == name })
}

// note keeps what the fields of interest say, once all of them are there.
func (h *header) note() {
	for _, f := range h.fields {
		if f.raw == nil {
			continue
		}
		value := message.Field{Name: f.name, Raw: f.raw}.Value()
		switch f.name {
		case "mime-version":
			h.mimeVersion = true
		case "content-type":
			h.contentType = value
		default:
			mechanism, _, _ := strings.Cut(value, "(")
			h.mechanism = strings.ToLower(strings.TrimSpace(mechanism))
		}
	}
}

// unlabel takes every field away that names an encoding.
func (h *header) unlabel() []edit {
	var edits []edit
	for _, f := range h.fields {
		if f.name == transferEncoding {
			edits = append(edits, remove(f.span))
		}
	}
	return edits
}

// kind is the type of the part in lower case, without parameters.
func (h *header) kind() string {
	kind, _, _ := strings.Cut(strings.ToLower(h.contentType), ";")
	return strings.TrimSpace(kind)
}

// isField says whether a line can be the first of a header.
func isField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	return ok && len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// encode makes the edits that bring a body into 7 bits and short lines.
func (h *header) encode(body message.Span, eightBit bool) ([]edit, error) {
	switch h.mechanism {
	case "", "7bit", "8bit", "binary":
	case "quoted-printable":
		return []edit{{body, mendQuoted}}, nil
	case "base64":
		if eightBit {
			return nil, refuse("a part in base64 has bytes over 127")
		}
		return []edit{{body, breakBase64}}, nil
	default:
		return nil, refuse("a part is in the unknown encoding %q", h.mechanism)
	}
	if kind := h.kind(); strings.HasPrefix(kind, "message/") || strings.HasPrefix(kind, "multipart/") {
		return nil, refuse("a part of type %q can have no encoding", kind) // RFC 2046 sections 5.1 and 5.2
	}
	return append(h.unlabel(), insert(h.end, h.labels(eightBit, "quoted-printable")), edit{body, quote}), nil
}

// labels are the fields that say what was done: the encoding a part has now.
func (h *header) labels(eightBit bool, mechanism string) string {
	eol := h.eol
	if eol == "" {
		eol = "\n"
	}
	text := ""
	if h.message && !h.mimeVersion {
		text += "MIME-Version: 1.0" + eol
	}
	if h.contentType == "" && eightBit {
		text += "Content-Type: text/plain; charset=unknown-8bit" + eol
	}
	text += "Content-Transfer-Encoding: " + mechanism + eol
	if h.none {
		text += eol
	}
	return text
}

// foldHeader breaks lines of fields that are too long, where a blank allows it. The field that names the encoding may be taken
// away as well, and none that we know is so long.
func (p *plan) foldHeader(h *header, signed bool) error {
	for _, f := range h.fields {
		switch {
		case !f.long || !p.need.Lines:
			continue
		case signed:
			return errSigned
		case f.name == transferEncoding:
			return refuse("a Content-Transfer-Encoding field has a line of more than %d bytes", MaxLine)
		}
		p.edits = append(p.edits, edit{f.span, fold})
	}
	return nil
}

// fold begins a new line before a blank wherever the line would have more than MaxLine bytes (RFC 5322 section 2.2.3).
func fold(w io.Writer, old io.Reader) error {
	raw, err := io.ReadAll(old) // a field is bounded by MaxHeader
	if err != nil {
		return err
	}
	for line := range bytes.Lines(raw) {
		for len(bytes.TrimRight(line, "\r\n")) > MaxLine {
			cut := bytes.LastIndexAny(line[:MaxLine+1], " \t")
			if cut <= 0 || len(bytes.TrimSpace(line[:cut])) == 0 {
				return refuse("a header field has a word of more than %d bytes", MaxLine)
			}
			if _, err := w.Write(append(bytes.Clone(line[:cut]), '\n')); err != nil {
				return err
			}
			line = line[cut:]
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}
