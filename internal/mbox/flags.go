package mbox

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"

	"pennypost/internal/message"
)

// Flags are what a Maildir's file name and directory tell of a message.
//
// In an mbox they stand in two header fields: Status holds R (seen) and O (not
// in new any more), X-Status holds A (replied to), F (flagged), T (draft) and D
// (deleted). The letters Maildir has beyond these (P, and a to z for keywords)
// stand in X-Status as they are.
type Flags struct {
	Letters string // Maildir letters, sorted
	New     bool   // not yet moved out of new
}

// settable are the letters of a Maildir that Flags carries.
const settable = "DFPRSTabcdefghijklmnopqrstuvwxyz"

// WithFlags is the message with its flags in the last fields of the header, and
// the address of its first Return-Path field. What WithFlags makes, WithoutFlags
// takes apart into the same bytes and the same flags: Status and X-Status fields
// the message had already are left where they are, and while any are there the
// two new ones always stand behind them. A message that is new, has no flags and
// no such fields is not changed. The result is good as long as m is.
func WithFlags(m *message.Message, f Flags) (marked *message.Message, returnPath string, err error) {
	h, err := scanHead(m.Reader())
	if err != nil {
		return nil, "", err
	}
	add := f.fields(len(h.all) > 0, h.eol)
	if add == "" {
		return m, h.returnPath, nil
	}
	// Prepend to what follows the header, then the header in front of it.
	top := message.New(m, h.size)
	rest := message.New(io.NewSectionReader(m, h.size, m.Size()-h.size), m.Size()-h.size)
	return message.New(&inserted{top, rest.Prepend([]byte(add))}, m.Size()+int64(len(add))), h.returnPath, nil
}

// WithoutFlags reads the flags of a message out of an mbox and takes the fields
// off that WithFlags adds: X-Status and the Status before it, or Status, when
// they end the header. Where only Status or none of them stands there, the
// message comes from another program, and every Status and X-Status field counts.
func WithoutFlags(m *message.Message) (*message.Message, Flags, error) {
	h, err := scanHead(m.Reader())
	if err != nil {
		return nil, Flags{}, err
	}
	layer := h.layer()
	count := h.all
	if len(layer) == 2 {
		count = layer
	}
	f := parseFlags(count)
	var cut []message.Span
	for _, l := range layer {
		cut = append(cut, l.span)
	}
	if cut == nil {
		return m, f, nil
	}
	return m.Without(cut), f, nil
}

// fields are the lines to add; others says that the message has such fields already.
func (f Flags) fields(others bool, eol string) string {
	st, x := "", ""
	for _, c := range []byte(f.Letters) {
		switch {
		case strings.IndexByte(settable, c) < 0:
		case c == 'S':
			st = "R"
		default:
			x += string(swap(c))
		}
	}
	if !f.New {
		st += "O"
	}
	if st == "" && x == "" && !others {
		return ""
	}
	add := strings.TrimRight("Status: "+st, " ") + eol
	if x != "" || others {
		add += strings.TrimRight("X-Status: "+x, " ") + eol
	}
	return add
}

// swap turns a Maildir letter into one of X-Status, and back.
func swap(c byte) byte {
	switch c {
	case 'R':
		return 'A'
	case 'A':
		return 'R'
	case 'T':
		return 'D'
	case 'D':
		return 'T'
	}
	return c
}

func parseFlags(lines []statusLine) Flags {
	f := Flags{New: true}
	var letters []byte
	for _, l := range lines {
		for _, c := range []byte(l.value) {
			switch {
			case l.x && c == 'S':
				continue
			case l.x:
				c = swap(c)
			case c == 'R':
				c = 'S'
				f.New = false
			case c == 'O':
				f.New = false
				continue
			default:
				continue
			}
			if strings.IndexByte(settable, c) >= 0 && !bytes.ContainsRune(letters, rune(c)) {
				letters = append(letters, c)
			}
		}
	}
	slices.Sort(letters)
	f.Letters = string(letters)
	f.New = f.New && len(letters) == 0
	return f
}

// statusLine is one Status or X-Status field.
type statusLine struct {
	x     bool
	value string
	span  message.Span
}

// head is what scanHead finds in the header: all complete lines before the first
// that is neither a field nor the continuation of one. Nothing continues a Status
// or X-Status field, so that text may follow one that was put before it.
type head struct {
	size       int64
	eol        string
	all        []statusLine
	returnPath string
}

// maxStatusLines bounds what is kept of a header made of Status fields. Layers
// at the end of a header are always kept.
const maxStatusLines = 64

func scanHead(r io.Reader) (head, error) {
	h := head{eol: "\n"}
	br := bufio.NewReaderSize(r, 4096)
	folds := false // whether a line that starts with a blank continues a field
	for {
		line, size, err := headLine(br)
		if err == io.EOF {
			return h, nil
		}
		if err != nil {
			return h, err
		}
		name, value, ok := splitField(line)
		switch {
		case ok:
			folds = h.field(name, value, message.Span{Off: h.size, Len: size})
		case !folds || (line[0] != ' ' && line[0] != '\t'):
			return h, nil
		}
		h.size += size
		if h.size == size && bytes.HasSuffix(line, []byte("\r\n")) {
			h.eol = "\r\n"
		}
	}
}

// field notes one field and reports whether it may go on in the next line.
func (h *head) field(name, value string, at message.Span) bool {
	x := strings.EqualFold(name, "X-Status")
	if !x && !strings.EqualFold(name, "Status") {
		if h.returnPath == "" && strings.EqualFold(name, "Return-Path") {
			h.returnPath = strings.TrimSuffix(strings.TrimPrefix(value, "<"), ">")
		}
		return true
	}
	if len(h.all) == maxStatusLines {
		h.all = slices.Delete(h.all, 0, 1)
	}
	h.all = append(h.all, statusLine{x, value, at})
	return false
}

// layer is the pair or the single Status field that ends the header.
func (h *head) layer() []statusLine {
	n := len(h.all)
	if n == 0 || h.all[n-1].span.Off+h.all[n-1].span.Len != h.size {
		return nil
	}
	if !h.all[n-1].x {
		return h.all[n-1:]
	}
	if n > 1 && !h.all[n-2].x && h.all[n-2].span.Off+h.all[n-2].span.Len == h.all[n-1].span.Off {
		return h.all[n-2:]
	}
	return nil
}

// headLine reads one line, of which it returns the first 4096 bytes and the
// whole size. A last line without a newline counts as the end.
func headLine(br *bufio.Reader) (line []byte, size int64, err error) {
	for {
		part, err := br.ReadSlice('\n')
		if line == nil {
			line = bytes.Clone(part)
		}
		size += int64(len(part))
		if err != bufio.ErrBufferFull {
			return line, size, err
		}
	}
}

// splitField takes a line apart at its colon. ok is false if no field name
// (RFC 5322 section 2.2) stands before it.
func splitField(line []byte) (name, value string, ok bool) {
	n, v, found := bytes.Cut(line, []byte(":"))
	if !found || len(n) == 0 {
		return "", "", false
	}
	for _, c := range n {
		if c <= ' ' || c >= 0x7f {
			return "", "", false
		}
	}
	return string(n), string(bytes.TrimSpace(v)), true
}

// inserted is two messages as one.
type inserted struct{ top, rest *message.Message }

func (j *inserted) ReadAt(p []byte, off int64) (n int, err error) {
	if off < j.top.Size() {
		n, err = j.top.ReadAt(p, off)
		if err != io.EOF || n == len(p) {
			return n, err
		}
	}
	more, err := j.rest.ReadAt(p[n:], off+int64(n)-j.top.Size())
	return n + more, err
}

// Settable is the letters that Flags carries out of those of a file's name.
func Settable(letters string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(settable, r) {
			return r
		}
		return -1
	}, letters)
}
