package imap

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// Limits of the structure that is made of a message. What lies beyond them stays part of the body around it:
// every byte can still be fetched.
const (
	maxDepth      = 50      // multiparts and messages inside each other
	maxParts      = 2000    // parts in all
	maxKept       = 1 << 20 // bytes of header fields kept of one message
	maxBoundary   = 200     // bytes of a boundary that counts as one
	structureRead = 64 << 10
)

// A pos is a place in a message: in the bytes as they are stored, in the bytes as they are sent (each
// LF without CR before it is two), and in line ends passed.
type pos struct{ raw, wire, lines int64 }

// A part is a message or a body part with the places where it is.
type part struct {
	header   pos // where the header begins
	body     pos // where the body begins, behind the blank line
	end      pos // where the body ends, before the line break that belongs to a boundary
	fields   map[string]string
	typ      contentType
	children []*part // of a multipart: at least one
	message  *part   // of message/rfc822
}

// messageFields are kept of the header of a message, partFields of every part.
var (
	messageFields = []string{"date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to", "message-id"}
	partFields    = []string{"content-type", "content-id", "content-description", "content-transfer-encoding", "content-md5",
		"content-disposition", "content-language", "content-location"}
)

func fieldSet(lists ...[]string) map[string]bool {
	set := make(map[string]bool)
	for _, l := range lists {
		for _, name := range l {
			set[name] = true
		}
	}
	return set
}

var (
	keptOfMessage = fieldSet(messageFields, partFields)
	keptOfPart    = fieldSet(partFields)
)

// parseHeader reads only the header of the message: header, body and fields are set, end is not.
func parseHeader(r io.Reader) (*part, error) {
	s := newParser(r)
	p := &part{}
	s.header(p, keptOfMessage)
	return p, s.err
}

// parseField reads one field of the message's header; ok is false when it has none. Of several the
// values come one a line.
func parseField(r io.Reader, name string) (value string, ok bool, err error) {
	name = strings.ToLower(name)
	s := newParser(r)
	s.all = true
	p := &part{}
	s.header(p, map[string]bool{name: true})
	value, ok = p.fields[name]
	return value, ok, s.err
}

// parseMessage finds the parts of the message that r gives, whatever is in it: there is no message that has
// no structure. The memory it takes is bounded. Errors are those of r.
func parseMessage(r io.Reader) (*part, error) {
	s := newParser(r)
	root := &part{}
	s.part(root, keptOfMessage, typePlain, 0)
	return root, s.err
}

// A parser walks through the lines of a message.
type parser struct {
	r       *bufio.Reader
	err     error
	at      pos    // behind the current line
	start   pos    // where the current line begins
	lastEnd pos    // where the break of the line before the current one begins
	eol     pos    // where the break of the current line begins
	line    []byte // the current line, or what fits of it, without its break
	long    bool   // the current chunk goes on a line
	ended   bool   // the last chunk had a line break
	cr      bool   // the last chunk ended with CR
	stack   []string
	parts   int
	kept    int
	all     bool // every field of a name counts, a line each
}

func newParser(r io.Reader) *parser {
	return &parser{r: bufio.NewReaderSize(r, structureRead), ended: true}
}

// next goes to the next line, or to the next chunk of one that is too long; false at the end.
func (s *parser) next() bool {
	chunk, err := s.r.ReadSlice('\n')
	if len(chunk) == 0 {
		if err != io.EOF && s.err == nil {
			s.err = err
		}
		s.start, s.lastEnd, s.line = s.at, s.at, nil
		if s.ended {
			s.lastEnd = s.eol
		}
		return false
	}
	s.long = !s.ended
	s.start = s.at
	if !s.long {
		s.lastEnd = s.eol
	}
	n := int64(len(chunk))
	s.at.raw += n
	s.at.wire += n
	s.ended = chunk[n-1] == '\n'
	s.eol = s.at
	if s.ended {
		body := chunk[:n-1]
		crlf := bytes.HasSuffix(body, []byte("\r")) || len(body) == 0 && s.long && s.cr
		breakLen := int64(1)
		if crlf {
			breakLen = 2
		} else {
			s.at.wire++
		}
		s.at.lines++
		s.eol = pos{s.at.raw - breakLen, s.at.wire - 2, s.at.lines - 1}
		chunk = bytes.TrimSuffix(body, []byte("\r"))
	}
	s.cr = bytes.HasSuffix(chunk, []byte("\r")) && !s.ended
	s.line = chunk
	if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
		s.err = err
	}
	return true
}

// A mark is where a part ended: at a boundary of the stack, or at the end of the message (level -1).
type mark struct {
	level int
	final bool
}

// boundary tells whether the current line is a delimiter (RFC 2046 section 5.1.1) of an open multipart.
func (s *parser) boundary() (mark, bool) {
	if s.long || !bytes.HasPrefix(s.line, []byte("--")) {
		return mark{}, false
	}
	line := string(s.line[2:min(len(s.line), 2+maxBoundary+80)])
	for i := len(s.stack) - 1; i >= 0; i-- {
		rest, ok := strings.CutPrefix(line, s.stack[i])
		if !ok {
			continue
		}
		rest, final := strings.CutPrefix(rest, "--")
		if final || strings.TrimRight(rest, " \t") == "" {
			return mark{i, final}, true
		}
	}
	return mark{}, false
}

// skip goes on to the next mark of the stack.
func (s *parser) skip() (mark, pos) {
	for s.next() {
		if m, ok := s.boundary(); ok {
			return m, s.lastEnd
		}
	}
	return mark{level: -1}, s.at
}

// header reads p's header and keeps the fields in keep. When the part ends in it, m tells where.
func (s *parser) header(p *part, keep map[string]bool) (m mark, ended bool) {
	p.header, p.fields = s.at, make(map[string]string)
	name := ""
	for s.next() {
		if m, ok := s.boundary(); ok {
			p.body = later(s.lastEnd, p.header)
			return m, true
		}
		if len(s.line) == 0 && !s.long && s.ended {
			p.body = s.at
			return mark{}, false
		}
		switch {
		case s.long, s.line[0] == ' ', s.line[0] == '\t':
			if name != "" {
				p.fields[name] += s.keep(string(s.line))
			}
		default:
			field, value, ok := strings.Cut(string(s.line), ":")
			if name = strings.ToLower(strings.TrimRight(field, " \t")); !ok || !keep[name] {
				name = ""
				continue
			}
			s.begin(p, name, value)
		}
	}
	p.body = s.at
	return mark{level: -1}, true
}

// begin starts a field; of several address fields all count, of others the first.
func (s *parser) begin(p *part, name, value string) {
	old, again := p.fields[name]
	switch {
	case !again:
		p.fields[name] = s.keep(value)
	case name == "to" || name == "cc" || name == "bcc":
		p.fields[name] = old + s.keep(","+value)
	case s.all:
		p.fields[name] = old + s.keep("\n"+value)
	}
}

// keep charges a piece of a header to the budget and cuts off what is over it.
func (s *parser) keep(v string) string {
	v = v[:min(len(v), maxKept-s.kept)]
	s.kept += len(v)
	return strings.ReplaceAll(v, "\x00", "")
}

func later(a, b pos) pos {
	if a.raw < b.raw {
		return b
	}
	return a
}

// part reads one part and returns the mark that ended it.
func (s *parser) part(p *part, keep map[string]bool, fallback contentType, depth int) mark {
	s.parts++
	m, ended := s.header(p, keep)
	p.typ = parseContentType(p.fields["content-type"], fallback)
	if ended {
		p.end = p.body
		p.degrade()
		return m
	}
	deep := depth >= maxDepth || s.parts >= maxParts
	switch b := p.typ.param("boundary"); {
	case deep && (p.typ.isMultipart() || p.typ.isMessage()):
		p.typ = typeBinary
	case p.typ.isMultipart() && b != "" && len(b) <= maxBoundary:
		m = s.multipart(p, b, depth)
		p.degrade()
		return m
	case p.typ.isMessage():
		p.message = &part{}
		m = s.part(p.message, keptOfMessage, typePlain, depth+1)
		p.end = p.message.end
		return m
	}
	m, p.end = s.skip()
	p.end = later(p.end, p.body)
	p.degrade()
	return m
}

// multipart reads the children of p, which are separated by boundary.
func (s *parser) multipart(p *part, boundary string, depth int) mark {
	level := len(s.stack)
	s.stack = append(s.stack, boundary)
	fallback := typePlain
	if p.typ.is("multipart", "digest") {
		fallback = typeMessage
	}
	m, end := s.skip()
	for m.level == level && !m.final {
		if s.parts >= maxParts {
			m, end = s.skip()
			continue
		}
		child := &part{}
		p.children = append(p.children, child)
		m = s.part(child, keptOfPart, fallback, depth+1)
		end = child.end
	}
	s.stack = s.stack[:level]
	if m.level == level { // what follows the last delimiter belongs to p, and to no child
		m, end = s.skip()
	} else if m.level < 0 {
		end = s.at
	}
	p.end = later(end, p.body)
	return m
}

// degrade makes plain text of a multipart that has no parts and of a message that has none, so that
// every client can show what is there.
func (p *part) degrade() {
	if p.typ.isMultipart() && len(p.children) == 0 || p.typ.isMessage() && p.message == nil {
		p.typ = typePlain
	}
}

// find follows a section's part numbers (RFC 3501 section 6.4.5) from the message p; nil when there is
// no such part.
func (p *part) find(path []int) *part {
	at, whole := p, true // whole: at is a message, of which part 1 is the body
	for _, n := range path {
		if at.message != nil && !whole {
			at, whole = at.message, true
		}
		switch {
		case len(at.children) > 0 && n <= len(at.children):
			at, whole = at.children[n-1], false
		case len(at.children) == 0 && n == 1 && whole:
			whole = false
		default:
			return nil
		}
	}
	return at
}
