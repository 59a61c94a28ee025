package milter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/d--j/go-milter"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// chunk is what one packet holds of a body (SMFIC_BODY).
const chunk = 65535

// show sends header and body to one filter and returns what it wants changed and its verdict.
func show(s *session, m *message.Message) ([]milter.ModifyAction, *milter.Action, error) {
	header, err := m.Header()
	if err != nil {
		return nil, nil, err
	}
	raw := s.ProtocolOption(milter.OptHeaderLeadingSpace)
	for _, f := range visible(header.Fields) {
		act, err := s.HeaderField(f.Name, fieldValue(f, raw), nil)
		if err != nil || act.Type != milter.ActionContinue {
			return nil, act, err
		}
	}
	if act, err := s.HeaderEnd(); err != nil || act.Type != milter.ActionContinue {
		return nil, act, err
	}
	b := &body{s: s}
	_, err = io.Copy(message.ToCRLF(b), io.NewSectionReader(m, header.Size, m.Size()-header.Size))
	if err == nil {
		err = b.flush() // also when there is nothing: the library wants one chunk
	}
	if errors.Is(err, errVerdict) {
		return nil, b.act, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return s.End()
}

// visible are the fields that a filter sees: not the first Received field, which is ours, and no line that is no field.
func visible(all []message.Field) []message.Field {
	var list []message.Field
	ours := true
	for _, f := range all {
		switch {
		case f.Name == "":
		case ours && f.Is("Received"):
			ours = false
		default:
			list = append(list, f)
		}
	}
	return list
}

// fieldValue is what stands after the colon, folded as it is; raw says that the blank after the colon belongs to it.
func fieldValue(f message.Field, raw bool) string {
	_, value, _ := bytes.Cut(f.Raw, []byte{':'})
	v := strings.TrimRight(strings.ReplaceAll(string(value), "\r\n", "\n"), "\n")
	if !raw {
		v = strings.TrimPrefix(v, " ")
	}
	return v
}

var errVerdict = errors.New("the milter has decided")

// body cuts what is written into chunks for a filter.
type body struct {
	s    *session
	buf  []byte
	sent bool
	act  *milter.Action // what it decided before the end
}

func (b *body) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		n := min(len(p), chunk-len(b.buf))
		b.buf = append(b.buf, p[:n]...)
		p = p[n:]
		if len(b.buf) == chunk {
			if err := b.flush(); err != nil {
				return 0, err
			}
		}
	}
	return all, nil
}

// flush sends what is kept, and if it is nothing only where nothing was sent before.
func (b *body) flush() error {
	if b.sent && len(b.buf) == 0 {
		return nil
	}
	act, err := b.s.BodyChunk(b.buf)
	b.buf, b.sent = b.buf[:0], true
	if err == nil && act.Type != milter.ActionContinue {
		b.act, err = act, errVerdict
	}
	return err
}

// apply makes the changes that a filter wants, to the message and to e. What it wants and is not done here is its failure:
// a message is never handed on half changed.
func (t *Transaction) apply(m *message.Message, e *envelope.Envelope, changes []milter.ModifyAction, raw bool) (*message.Message, error) {
	if len(changes) == 0 {
		return m, nil
	}
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	h := &edit{fields: header.Fields, raw: raw}
	sender, quarantine := e.Sender, e.Quarantine
	var replaced *message.Writer
	for _, c := range changes {
		switch c.Type {
		case milter.ActionAddHeader:
			err = h.add(c.HeaderName, c.HeaderValue)
		case milter.ActionInsertHeader:
			err = h.insert(int(c.HeaderIndex), c.HeaderName, c.HeaderValue)
		case milter.ActionChangeHeader:
			err = h.change(int(c.HeaderIndex), c.HeaderName, c.HeaderValue)
		case milter.ActionReplaceBody:
			if replaced == nil {
				replaced = message.NewWriter(maxSaid)
			}
			_, err = replaced.Write(c.Body)
		case milter.ActionChangeFrom:
			sender, err = envelope.Parse(c.From)
		case milter.ActionQuarantine:
			quarantine = status.Escape(c.Reason, 200)
		default:
			err = fmt.Errorf("it wants %v, which is not done here", c)
		}
		if err != nil {
			if replaced != nil {
				replaced.Discard()
			}
			return nil, plain(err)
		}
	}
	rest := m.Without([]message.Span{{Len: header.Size}})
	if replaced != nil {
		if rest, err = t.newBody(replaced); err != nil {
			return nil, err
		}
	}
	top, err := h.bytes(header.Blank || replaced != nil)
	if err != nil {
		return nil, err
	}
	e.Sender, e.Quarantine = sender, quarantine
	return rest.Prepend(top), nil
}

// plain takes the class from an error about a filter's words: they are not the client's.
func plain(err error) error { return errors.New(err.Error()) }

// newBody is the body that a filter has written with CRLF, in LF form.
func (t *Transaction) newBody(crlf *message.Writer) (*message.Message, error) {
	in, err := crlf.Message()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out := message.NewWriter(0)
	lf := message.ToLF(out)
	if _, err = io.Copy(lf, in.Reader()); err == nil {
		err = lf.Close()
	}
	if err != nil {
		out.Discard()
		return nil, plain(err)
	}
	m, err := out.Message()
	if err == nil {
		t.spools = append(t.spools, m)
	}
	return m, err
}

// edit is a header section that is being changed.
type edit struct {
	fields []message.Field
	raw    bool // values have the blank after the colon
}

// places are the indexes of the fields that a filter sees, or of those with a name.
func (h *edit) places(name string) []int {
	var at []int
	ours := true
	for i, f := range h.fields {
		switch {
		case f.Name == "":
		case ours && f.Is("Received"):
			ours = false
		case name == "" || f.Is(name):
			at = append(at, i)
		}
	}
	return at
}

func (h *edit) add(name, value string) error { return h.put(len(h.fields), name, value) }

// insert puts a field behind the n-th that the filter sees; 0 is on top of all.
func (h *edit) insert(n int, name, value string) error {
	at := 0
	if seen := h.places(""); n > 0 {
		at = len(h.fields)
		if n <= len(seen) {
			at = seen[n-1] + 1
		}
	}
	return h.put(at, name, value)
}

// change replaces the n-th field of the name, or removes it when the value is empty. A field that is not there is added.
func (h *edit) change(n int, name, value string) error {
	seen := h.places(name)
	n = max(n, 1)
	switch {
	case n > len(seen) && value == "":
		return nil
	case n > len(seen):
		return h.add(name, value)
	}
	at := seen[n-1]
	h.fields = append(h.fields[:at:at], h.fields[at+1:]...)
	if value == "" {
		return nil
	}
	return h.put(at, name, value)
}

// put makes one field of name and value, whatever is in them.
func (h *edit) put(at int, name, value string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return fmt.Errorf("it wants a field %q", name)
	}
	if strings.ContainsRune(value, 0) {
		return fmt.Errorf("it wants a NUL in the field %q", name)
	}
	if !h.raw {
		value = " " + value
	}
	var b strings.Builder
	b.WriteString(name + ":")
	for i, line := range strings.Split(strings.ReplaceAll(value, "\r", "\n"), "\n") {
		line = strings.TrimRight(line, " \t")
		if i > 0 && line == "" {
			continue // an empty line would end the header
		}
		if i > 0 && line[0] != ' ' && line[0] != '\t' {
			line = "\t" + line
		}
		b.WriteString(line + "\n")
	}
	f := message.Field{Name: name, Raw: []byte(b.String())}
	h.fields = append(h.fields[:at:at], append([]message.Field{f}, h.fields[at:]...)...)
	return nil
}

// bytes is the header section, with the empty line behind it if there is to be one.
func (h *edit) bytes(blank bool) ([]byte, error) {
	var b bytes.Buffer
	for _, f := range h.fields {
		b.Write(f.Raw)
	}
	if blank {
		b.WriteByte('\n')
	}
	if b.Len() > message.MaxHeader || len(h.fields) > message.MaxFields {
		return nil, errors.New("the header has become too large")
	}
	return b.Bytes(), nil
}
