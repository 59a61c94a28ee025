package recode

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"strings"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// plan reads a message line by line and notes the edits. Its place in the message is one of
//
//	in a header       head is not nil
//	in a body         part says of what; boundaries of the multiparts around it end it
type plan struct {
	need  Need
	r     *bufio.Reader
	at    int64 // of the line being read
	edits []edit

	around []multipart
	head   *header
	part   part
	parts  int
}

// multipart is one that is open: its lines of delimiters begin with --boundary.
type multipart struct {
	boundary string
	signed   bool
}

// part is a body, or what stands around the parts of a multipart.
type part struct {
	head     *header
	filler   bool // preamble or epilogue, which nobody reads (RFC 2046 section 5.1.1)
	signed   bool // inside a multipart/signed (RFC 1847 section 2.1)
	start    int64
	eightBit bool
	long     bool
	lineEnd  int64 // bytes of the end of the line before, which belongs to a delimiter that follows
}

func (p *plan) read() error {
	p.head = &header{message: true}
	for {
		line, size, err := p.line()
		if err == io.EOF {
			return p.end()
		}
		if err != nil {
			return err
		}
		if err := p.take(line, size); err != nil {
			return err
		}
		p.at += size.total
	}
}

// lineSize is what must be known of a line whose bytes are not all at hand.
type lineSize struct {
	total, text int64 // bytes with and without the line end
	eightBit    bool
}

// line returns the beginning of the next line: all of it in a header, enough of it for a delimiter in a body.
func (p *plan) line() (begin []byte, size lineSize, err error) {
	var end byte
	for {
		b, err := p.r.ReadSlice('\n')
		size.total += int64(len(b))
		size.eightBit = size.eightBit || has8Bit(b)
		if len(begin) < maxBegin || p.head != nil {
			begin = append(begin, b...)
		}
		if p.head != nil && size.total > message.MaxHeader {
			return nil, size, refuse("a header is longer than %d bytes", message.MaxHeader)
		}
		switch {
		case err == nil:
			size.text = size.total - 1
			if n := len(b); n > 1 && b[n-2] == '\r' || n == 1 && end == '\r' {
				size.text--
			}
			return begin, size, nil
		case err == io.EOF && size.total > 0:
			size.text = size.total
			return begin, size, nil
		case err == io.EOF:
			return nil, size, err
		case err != bufio.ErrBufferFull:
			return nil, size, status.Errorf(status.IO, "read the message: %w", err)
		}
		end = b[len(b)-1]
	}
}

// maxBegin is more than a delimiter has: 70 bytes and its hyphens, and blanks (RFC 2046 section 5.1.1).
const maxBegin = 200

func has8Bit(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

func (p *plan) take(line []byte, size lineSize) error {
	if p.at == 0 && size.text > 0 && !isField(line) {
		p.head.none = true
		if err := p.body(0); err != nil {
			return err
		}
	}
	if p.head != nil {
		if level, last := p.delimiter(line); level >= 0 { // a part without a body
			return p.delimit(level, last, size)
		}
		if size.text > 0 {
			return p.head.add(line, p.at, size.text)
		}
		p.head.end = p.at
		return p.body(p.at + size.total)
	}
	if level, last := p.delimiter(line); level >= 0 {
		return p.delimit(level, last, size)
	}
	p.part.eightBit = p.part.eightBit || size.eightBit
	p.part.long = p.part.long || size.text > MaxLine
	p.part.lineEnd = size.total - size.text
	return nil
}

// delimiter finds the multipart that a line delimits.
func (p *plan) delimiter(line []byte) (level int, last bool) {
	if !bytes.HasPrefix(line, []byte("--")) || len(line) >= maxBegin || p.need.text && !p.whole(line) {
		return -1, false
	}
	text := string(bytes.TrimRight(line[2:], " \t\r\n"))
	for i := len(p.around) - 1; i >= 0; i-- {
		switch p.around[i].boundary {
		case text:
			return i, false
		case strings.TrimSuffix(text, "--"):
			return i, true
		}
	}
	return -1, false
}

// whole says that a line stands between two CRLF, as a delimiter has to where line ends are no matter of taste (RFC 2046
// section 5.1.1).
func (p *plan) whole(line []byte) bool {
	begun := p.head != nil || p.at == p.part.start || p.part.lineEnd == 2
	return begun && (bytes.HasSuffix(line, []byte("\r\n")) || !bytes.HasSuffix(line, []byte("\n")))
}

// delimit ends what is before a delimiter and begins what is behind it.
func (p *plan) delimit(level int, last bool, size lineSize) error {
	if err := p.close(p.part.lineEnd, false); err != nil {
		return err
	}
	p.around = p.around[:level+1]
	if !last {
		p.head, p.part = &header{}, part{}
		return nil
	}
	p.around = p.around[:level]
	p.part = part{filler: true, start: p.at + size.total, signed: p.signed()}
	return nil
}

// end closes what is open at the end of the message.
func (p *plan) end() error {
	if p.head != nil {
		p.head.end = p.at
		if err := p.body(p.at); err != nil {
			return err
		}
	}
	return p.close(0, true)
}

// body begins what a header says of the bytes behind it.
func (p *plan) body(start int64) error {
	h := p.head
	p.head = nil
	h.note()
	if p.parts++; p.parts > maxParts || len(p.around) > maxDepth {
		return refuse("it has more than %d parts, or more than %d in each other", maxParts, maxDepth)
	}
	signed := p.signed()
	if err := p.foldHeader(h, signed); err != nil {
		return err
	}
	kind, params, err := mime.ParseMediaType(h.contentType)
	switch {
	case err == nil && strings.HasPrefix(kind, "multipart/") && params["boundary"] != "":
		if err := p.composite(h, signed); err != nil {
			return err
		}
		p.around = append(p.around, multipart{strings.TrimRight(params["boundary"], " \t"), signed || kind == "multipart/signed"})
		p.part = part{filler: true, start: start, signed: signed}
	case kind == "message/rfc822" || kind == "message/global":
		if err := p.composite(h, signed); err != nil {
			return err
		}
		p.head = &header{message: true}
		p.part = part{}
	default:
		p.part = part{head: h, start: start, signed: signed}
	}
	return nil
}

// composite takes the encoding off the header of a part whose parts will be of 7 bits; it may have no other (RFC 2045
// section 6.4). Where parts stop being binary they may be of 8.
func (p *plan) composite(h *header, signed bool) error {
	if p.need.text && h.mechanism == "binary" {
		return p.textual(h, signed, "8bit")
	}
	if p.need.SevenBit && (h.mechanism == "8bit" || h.mechanism == "binary") {
		p.edits = append(p.edits, h.unlabel()...)
	}
	return nil
}

// bodiless ends a part that is a header and no more.
func (p *plan) bodiless(h *header) error {
	if err := p.foldHeader(h, p.signed()); err != nil || !p.need.text {
		return err
	}
	h.note()
	if h.end = p.at; h.mechanism != "binary" {
		return nil
	}
	return p.textual(h, p.signed(), "8bit")
}

// signed says that what is here is signed.
func (p *plan) signed() bool { return len(p.around) > 0 && p.around[len(p.around)-1].signed }

// close ends a body; the last less bytes of it belong to the delimiter behind it. last says that nothing is behind it.
func (p *plan) close(less int64, last bool) error {
	if h := p.head; h != nil { // a header that ends without an empty line has no body
		p.head = nil
		return p.bodiless(h)
	}
	c := p.part
	p.part = part{}
	span := message.Span{Off: c.start, Len: max(0, p.at-less-c.start)}
	if p.need.text && !c.filler && c.head.mechanism == "binary" {
		return p.unbinary(c, span, last)
	}
	if !(c.eightBit && p.need.SevenBit) && !(c.long && p.need.Lines) {
		return nil
	}
	if c.signed {
		return errSigned
	}
	if c.filler {
		p.edits = append(p.edits, edit{span, flatten})
		return nil
	}
	edits, err := c.head.encode(span, c.eightBit && p.need.SevenBit)
	p.edits = append(p.edits, edits...)
	return err
}
