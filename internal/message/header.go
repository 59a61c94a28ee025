package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"pennypost/internal/status"
)

// Limits of a header section. RFC 5322 has none; these bound memory.
const (
	MaxHeader = 1 << 20 // bytes of the whole section
	MaxFields = 10_000
)

// Field is one header field exactly as it stands in the message.
type Field struct {
	Name string // as written, without blanks before the colon; "" for a line that is no field
	Raw  []byte // with its line ends and folded lines
	Off  int64  // where Raw starts in the message
}

// Value is what stands after the colon, unfolded (RFC 5322 section 2.2.3) and without blanks at its ends.
func (f Field) Value() string {
	_, value, _ := bytes.Cut(f.Raw, []byte{':'})
	if f.Name == "" {
		value = f.Raw
	}
	return strings.Trim(strings.NewReplacer("\r\n", "", "\n", "").Replace(string(value)), " \t")
}

// Is compares field names, which are ASCII and have no case (RFC 5322 section 1.2.2).
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Span is where the field is in its message.
func (f Field) Span() Span { return Span{f.Off, int64(len(f.Raw))} }

// Header is the header section: all lines before the first empty one, or before the first line that cannot be in a
// header, or the whole message.
type Header struct {
	Fields []Field
	Size   int64 // offset of the body: the empty line belongs to the header
	Blank  bool  // an empty line ends the section
}

// Get is the value of the first field of that name, or "".
func (h Header) Get(name string) string {
	for _, f := range h.Fields {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// All are the fields of that name in their order.
func (h Header) All(name string) []Field {
	var out []Field
	for _, f := range h.Fields {
		if f.Is(name) {
			out = append(out, f)
		}
	}
	return out
}

// Header reads the header section. Lines end in LF or CRLF. Nothing is too odd to be read: a line inside the section that is
// no field is kept as a Field without a name, and a message whose first line is no field has an empty header. The only
// errors are a section over the limits, which is permanent, and a failed read.
func (m *Message) Header() (h Header, err error) {
	r := headerReaders.Get().(*bufio.Reader)
	r.Reset(m.Reader())
	defer headerReaders.Put(r)
	all := make([]byte, 0, 2048)
	h.Fields = make([]Field, 0, 16)
	end := int64(0) // of the fields
	defer func() { h.cut(all[:end]) }()
	for {
		if all, err = readLine(r, all[:h.Size]); err != nil {
			return h, err
		}
		line := all[h.Size:]
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			return h, nil
		case len(text) == 0:
			h.Size += int64(len(line))
			h.Blank = true
			return h, nil
		case (text[0] == ' ' || text[0] == '\t') && len(h.Fields) > 0:
			// It belongs to the field before.
		case len(h.Fields) == 0 && fieldName(text) == "":
			return h, nil // no header at all
		case len(h.Fields) == MaxFields:
			return h, status.Errorf(status.Data, "read header: more than %d fields", MaxFields)
		default:
			h.Fields = append(h.Fields, Field{Name: fieldName(text), Off: h.Size})
		}
		h.Size += int64(len(line))
		end = h.Size
	}
}

// headerReaders keeps buffers for the next header.
var headerReaders = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// cut gives each field its bytes, of all those of the fields. They share memory, but growing one does not touch the next.
func (h *Header) cut(all []byte) {
	end := int64(len(all))
	for i := len(h.Fields) - 1; i >= 0; i-- {
		f := &h.Fields[i]
		f.Raw = all[f.Off:end:end]
		end = f.Off
	}
}

// readLine appends a line with its end to the header read so far, or what is left at the end of the message; at most MaxHeader
// bytes in all.
func readLine(r *bufio.Reader, all []byte) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(all)+len(part) > MaxHeader {
			return all, status.Errorf(status.Data, "read header: it is longer than %d bytes", MaxHeader)
		}
		all = append(all, part...)
		switch {
		case err == nil, errors.Is(err, io.EOF):
			return all, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return all, status.Errorf(status.IO, "read header: %w", err)
		}
	}
}

// fieldName is the name of a field, RFC 5322 section 2.2: printable ASCII up to the colon. Blanks before the colon are
// obsolete syntax (section 4.5) and tolerated.
func fieldName(line []byte) string {
	name, _, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return ""
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return ""
		}
	}
	return string(name)
}
