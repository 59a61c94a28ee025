package message

import (
	"bytes"
	"errors"
	"io"
	"slices"
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
	r := headerReaders.Get().(*headerReader)
	r.m = m
	h.Fields = make([]Field, 0, 16)
	end := int64(0) // of the fields
	defer func() {
		h.cut(bytes.Clone(r.read[:end]), string(r.names))
		*r = headerReader{read: r.read[:0], names: r.names[:0]}
		headerReaders.Put(r)
	}()
	for {
		line, err := r.line(int(h.Size))
		if err != nil {
			return h, err
		}
		switch {
		case len(line) == 0:
			return h, nil
		case isEmpty(line):
			h.Size += int64(len(line))
			h.Blank = true
			return h, nil
		case (line[0] == ' ' || line[0] == '\t') && len(h.Fields) > 0:
			// It belongs to the field before.
		case len(h.Fields) == 0 && len(fieldName(line)) == 0:
			return h, nil // no header at all
		case len(h.Fields) == MaxFields:
			return h, status.Errorf(status.Data, "read header: more than %d fields", MaxFields)
		default:
			name := fieldName(line)
			r.names = append(r.names, name...)
			h.Fields = append(h.Fields, Field{Raw: name, Off: h.Size})
		}
		h.Size += int64(len(line))
		end = h.Size
	}
}

// cut gives each field, which has its name in Raw, its name and bytes, of all those of the fields. They share memory, but growing
// one does not touch the next.
func (h *Header) cut(all []byte, names string) {
	for i := range h.Fields {
		f := &h.Fields[i]
		f.Name, names = names[:len(f.Raw)], names[len(f.Raw):]
		end := int64(len(all))
		if i+1 < len(h.Fields) {
			end = h.Fields[i+1].Off
		}
		f.Raw = all[f.Off:end:end]
	}
}

// headerReader is what is needed to read a header, and kept for the next one.
type headerReader struct {
	m     *Message
	read  []byte // the message as far as it was read
	names []byte // those of the fields, one behind the other
}

var headerReaders = sync.Pool{New: func() any { return new(headerReader) }}

// line is the line with its end that begins at a place, or what is left at the end of the message. The header must not be longer
// than MaxHeader with it.
func (r *headerReader) line(at int) ([]byte, error) {
	for seen := at; ; {
		if i := bytes.IndexByte(r.read[seen:], '\n'); i >= 0 {
			if i += seen + 1; i > MaxHeader {
				break
			}
			return r.read[at:i], nil
		}
		if seen = len(r.read); seen > MaxHeader {
			break
		}
		if err := r.more(); err != nil {
			return nil, status.Errorf(status.IO, "read header: %w", err)
		}
		if len(r.read) == seen {
			return r.read[at:], nil
		}
	}
	return nil, status.Errorf(status.Data, "read header: it is longer than %d bytes", MaxHeader)
}

// more adds to what was read of a message as much again, but at first what nearly every header fits in, and never more than one
// byte beyond MaxHeader. It adds nothing at the end of the message.
func (r *headerReader) more() error {
	const first = 4 << 10
	at := len(r.read)
	size := int(min(int64(max(first, 2*at)), MaxHeader+1, r.m.size))
	r.read = slices.Grow(r.read, size-at)
	n, err := r.m.ReadAt(r.read[at:size], int64(at))
	r.read = r.read[:at+n]
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// isEmpty says whether a line has nothing but its end.
func isEmpty(line []byte) bool {
	for _, c := range line {
		if c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// fieldName is the name of a field, RFC 5322 section 2.2: printable ASCII up to the colon. Blanks before the colon are
// obsolete syntax (section 4.5) and tolerated.
func fieldName(line []byte) []byte {
	end := bytes.IndexByte(line, ':')
	for end > 0 && (line[end-1] == ' ' || line[end-1] == '\t') {
		end--
	}
	if end < 0 {
		return nil
	}
	for _, c := range line[:end] {
		if c <= ' ' || c >= 0x7f {
			return nil
		}
	}
	return line[:end]
}
