package imap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"pennypost/internal/imap/wire"
	"pennypost/internal/message"
)

// A section is BODY[...] as asked for (RFC 3501 section 6.4.5).
type section struct {
	path   []int
	kind   string // "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME
	fields []string
	first  int64 // of a partial fetch; -1 when all is wanted
	count  int64
}

// maxPath bounds the numbers of a section.
const maxPath = 2 * maxDepth

// sectionArg reads "[...]<...>" behind BODY.
func (s *session) sectionArg() (*section, error) {
	sec := &section{first: -1}
	if err := s.dec.Expect('['); err != nil {
		return nil, err
	}
	open := true // a text may follow
	for open && isDigit(s.dec) {
		n, err := s.dec.Number()
		if err != nil {
			return nil, err
		}
		if n == 0 || len(sec.path) == maxPath {
			return nil, bad("there can be no such part")
		}
		sec.path = append(sec.path, int(min(n, maxParts+1)))
		open = s.dec.Accept('.')
	}
	if c, _ := s.dec.Peek(); open && (c != ']' || len(sec.path) > 0) {
		if err := s.sectionText(sec); err != nil {
			return nil, err
		}
	}
	if err := s.dec.Expect(']'); err != nil {
		return nil, err
	}
	return sec, s.partial(sec)
}

func isDigit(d *wire.Decoder) bool {
	c, ok := d.Peek()
	return ok && c >= '0' && c <= '9'
}

// sectionText reads the word of a section and its header names.
func (s *session) sectionText(sec *section) error {
	word, err := s.dec.Atom()
	if err != nil {
		return err
	}
	switch sec.kind = strings.ToUpper(word); sec.kind {
	case "HEADER", "TEXT":
		return nil
	case "MIME":
		if len(sec.path) == 0 {
			return bad("MIME needs a part")
		}
		return nil
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		if err := s.dec.SP(); err != nil {
			return err
		}
		sec.fields, err = s.words(s.dec.AString)
		if err == nil && len(sec.fields) == 0 {
			err = bad("header names are missing")
		}
		return err
	}
	return bad("there is no section %s", word)
}

// partial reads "<first.count>".
func (s *session) partial(sec *section) (err error) {
	if !s.dec.Accept('<') {
		return nil
	}
	if sec.first, err = s.dec.Number(); err != nil {
		return err
	}
	if err = s.dec.Expect('.'); err != nil {
		return err
	}
	if sec.count, err = s.dec.Number(); err != nil {
		return err
	}
	if sec.count == 0 {
		return bad("nothing was asked for")
	}
	return s.dec.Expect('>')
}

// writeLabel names the section as the response must: with its header names and its first byte.
func (sec *section) writeLabel(w *wire.Writer) {
	w.Raw("BODY[")
	for i, n := range sec.path {
		if i > 0 {
			w.Raw(".")
		}
		w.Raw(strconv.Itoa(n))
	}
	if sec.kind != "" {
		if len(sec.path) > 0 {
			w.Raw(".")
		}
		w.Raw(sec.kind)
	}
	for i, f := range sec.fields {
		w.Raw([]string{" (", " "}[min(i, 1)])
		w.AString(f)
	}
	if len(sec.fields) > 0 {
		w.Raw(")")
	}
	w.Raw("]")
	if sec.first >= 0 {
		w.Printf("<%d>", sec.first)
	}
}

// needsParts tells whether more than the message's own header must be read to find the section.
func (sec *section) needsParts() bool { return len(sec.path) > 0 }

// An extent is a run of stored bytes with its length as it is sent.
type extent struct{ from, to, size int64 }

func between(a, b pos) extent {
	return extent{a.raw, max(a.raw, b.raw), max(0, b.wire-a.wire)}
}

// locate finds the section in the message; ok is false when there is no such part.
func (sec *section) locate(root *part) (x extent, ok bool) {
	p := root.find(sec.path)
	if p == nil {
		return extent{}, false
	}
	whole := p // the message that HEADER and TEXT are of
	if len(sec.path) > 0 {
		whole = p.message
	}
	switch sec.kind {
	case "":
		if len(sec.path) == 0 {
			return between(p.header, p.end), true
		}
		return between(p.body, p.end), true
	case "MIME":
		return between(p.header, p.body), true
	}
	if whole == nil {
		return extent{}, false
	}
	if sec.kind == "TEXT" {
		return between(whole.body, whole.end), true
	}
	return between(whole.header, whole.body), true
}

// write sends the section as a literal, or NIL when the message has none such.
func (sec *section) write(w *wire.Writer, ra io.ReaderAt, root *part) error {
	x, ok := sec.locate(root)
	if !ok {
		w.Raw("NIL")
		return nil
	}
	stored := func() io.Reader { return io.NewSectionReader(ra, x.from, x.to-x.from) }
	send := func(out io.Writer) error {
		_, err := io.Copy(message.ToCRLF(out), stored())
		return err
	}
	if len(sec.fields) > 0 {
		send = func(out io.Writer) error { return sec.filter(message.ToCRLF(out), stored()) }
		n := &counter{}
		if err := send(n); err != nil {
			return fmt.Errorf("read the header: %w", err)
		}
		x.size = n.n
	}
	first, count := int64(0), x.size
	if sec.first >= 0 {
		first = min(sec.first, x.size)
		count = min(sec.count, x.size-first)
	}
	w.Literal(count, func(out io.Writer) error {
		err := send(&window{w: out, skip: first, left: count})
		if errors.Is(err, errWindow) {
			return nil
		}
		return err
	})
	return nil
}

// filter copies the header fields that are wanted, and the empty line at the end (RFC 3501 section 6.4.5:
// it is part of every header).
func (sec *section) filter(w io.Writer, r io.Reader) error {
	wanted := make(map[string]bool, len(sec.fields))
	for _, f := range sec.fields {
		wanted[strings.ToLower(f)] = true
	}
	not := sec.kind == "HEADER.FIELDS.NOT"
	br := bufio.NewReaderSize(r, 4096)
	keep, begins := false, true
	for {
		line, err := br.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		blank := begins && len(bytes.TrimRight(line, "\r\n")) == 0
		if begins && !blank && line[0] != ' ' && line[0] != '\t' {
			name, _, ok := bytes.Cut(line, []byte(":"))
			keep = (ok && wanted[strings.ToLower(string(bytes.TrimRight(name, " \t")))]) != not
		}
		if keep && !blank {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		if begins = err == nil; err == io.EOF || blank {
			break
		}
	}
	_, err := io.WriteString(w, "\r\n")
	return err
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// errWindow stops a copy when the window is full.
var errWindow = errors.New("the rest is not wanted")

// A window passes on left bytes behind the first skip ones.
type window struct {
	w          io.Writer
	skip, left int64
}

func (v *window) Write(p []byte) (int, error) {
	n := len(p)
	drop := min(v.skip, int64(len(p)))
	v.skip -= drop
	p = p[drop:]
	take := min(v.left, int64(len(p)))
	if take > 0 {
		if _, err := v.w.Write(p[:take]); err != nil {
			return 0, err
		}
		v.left -= take
	}
	if v.left == 0 {
		return n, errWindow
	}
	return n, nil
}
