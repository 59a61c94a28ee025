package smtp

import (
	"bytes"
	"sync"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// unstuffer finds the end of message data and takes the added dots away (RFC 5321 section 4.5.2). The end is CRLF "." CRLF and
// nothing else; the CRLF that ends the DATA command counts as the first. No other sequence of CR, LF and dots is given a
// meaning: that is what SMTP smuggling lives on. The result does not depend on how the bytes are cut into calls.
//
//	lineStart   after CRLF          "." -> afterDot, CR -> afterCR, other -> inLine
//	inLine      inside a line       CR -> afterCR
//	afterCR     after CR            LF -> lineStart, CR -> afterCR, other -> inLine
//	afterDot    after CRLF "."      CR -> afterDotCR, other -> inLine
//	afterDotCR  after CRLF "." CR   LF -> end, CR -> afterCR, other -> inLine
type unstuffer struct {
	state dataState
}

type dataState uint8

const (
	lineStart dataState = iota
	inLine
	afterCR
	afterDot
	afterDotCR
)

// take appends to dst what b holds of the message and returns it with the number of bytes of b that were used. done means
// that the end was found behind them. A dot and a CR that may belong to the end are given out once they do not.
func (u *unstuffer) take(dst, b []byte) (out []byte, n int, done bool) {
	for i := 0; i < len(b); i++ {
		if u.state == inLine { // nothing but a CR matters there
			run := bytes.IndexByte(b[i:], '\r')
			if run < 0 {
				return append(dst, b[i:]...), len(b), false
			}
			dst = append(dst, b[i:i+run]...)
			i += run
		}
		c := b[i]
		switch u.state {
		case lineStart:
			if c == '.' {
				u.state = afterDot
				continue
			}
		case afterDot:
			if c == '\r' {
				u.state = afterDotCR
				continue
			}
		case afterDotCR:
			if c == '\n' {
				return dst, i + 1, true
			}
			dst = append(dst, '\r')
		}
		dst = append(dst, c)
		switch {
		case c == '\r':
			u.state = afterCR
		case c == '\n' && u.state == afterCR:
			u.state = lineStart
		default:
			u.state = inLine
		}
	}
	return dst, len(b), false
}

// receiver takes the bytes of a message with CRLF line ends, checks them and spools them in LF form. It takes everything that
// comes: a message that is refused must be read to its end all the same, or its rest would be taken for commands.
type receiver struct {
	spool  *message.Writer
	lf     *message.LFWriter
	check  *message.Checker
	size   int64 // octets with CRLF, as RFC 1870 section 5 counts them
	max    int64
	shape  shape       // limits of header and lines
	normal *normalizer // for a peer that may send bare LF, else nil
	binary bool        // it comes with BODY=BINARYMIME: spooled as it comes, and made text in the end
	err    error       // why spooling stopped
}

func newReceiver(max int64) *receiver {
	w, check := message.NewWriter(0), message.NewChecker(message.Limits{CRLF: true, NUL: true})
	return &receiver{spool: w, lf: message.ToCheckedLF(w, check), check: check, max: max}
}

// Write never fails; what went wrong is told by finish.
func (r *receiver) Write(b []byte) (int, error) {
	p := b
	if r.normal != nil {
		p = r.normal.take(b)
	}
	r.size += int64(len(p))
	if r.size > r.max && r.err == nil {
		r.err = status.Errorf(status.Data, "Error: message size exceeds %d octets", r.max).WithReply(552, "5.3.4")
	}
	if r.binary {
		if r.err == nil {
			_, r.err = r.spool.Write(p)
		}
		return len(b), nil
	}
	if r.shape.write(p); r.err == nil {
		r.err = r.shape.err
	}
	if r.err != nil {
		r.check.Write(p)
	} else {
		_, r.err = r.lf.Write(p)
	}
	return len(b), nil
}

// finish returns the message, or why it is refused. A *message.Violation means that the sender does not keep to
// RFC 5321 section 2.3.8 and that nothing else it says can be trusted to mean what it seems to.
func (r *receiver) finish() (*message.Message, error) {
	if r.binary {
		return r.finishBinary()
	}
	if v := r.check.Result(); v != nil {
		r.discard()
		return nil, v
	}
	if r.err == nil {
		r.err = r.lf.Close()
	}
	if r.err != nil {
		r.discard()
		return nil, r.err
	}
	return r.spool.Message()
}

func (r *receiver) discard() { r.spool.Discard() }

// finish ends a receiver and gives the message to the handler. end says that the client has sent the message to its end.
func (s *session) finish(r *receiver, end bool) Reply {
	m, err := r.finish()
	if err == nil {
		if r.binary {
			s.facts.Envelope.Body = "8BITMIME" // what it is from here on
		}
		return s.accept(m)
	}
	if v, ok := err.(*message.Violation); ok {
		s.closing = true
		err = status.Errorf(status.Data, "%w (RFC 5321 section 2.3.8)", v)
	}
	s.logFate(err, r.size)
	return s.refuseMessage(err, end)
}

// readData passes message data on to r up to its end.
func (s *session) readData(r *receiver) error {
	s.inData = true
	defer func() { s.inData = false }()
	var u unstuffer
	var out []byte
	for {
		if _, err := s.in.Peek(1); err != nil {
			return err
		}
		b, _ := s.in.Peek(s.in.Buffered())
		var n int
		var done bool
		out, n, done = u.take(out[:0], b)
		s.in.Discard(n)
		r.Write(out)
		if done {
			return nil
		}
	}
}

// chunkBuffer is the most that readChunk reads at once: a chunk tells its length, and need not go through the buffer of lines.
const chunkBuffer = 128 << 10

var chunkBuffers = sync.Pool{New: func() any { return new([chunkBuffer]byte) }}

// readChunk passes n bytes on to r, or drops them when r is nil.
func (s *session) readChunk(n int64, r *receiver) error {
	s.inData = true
	defer func() { s.inData = false }()
	space := chunkBuffers.Get().(*[chunkBuffer]byte)
	defer chunkBuffers.Put(space)
	for n > 0 {
		got, err := s.in.Read(space[:min(n, chunkBuffer)])
		if r != nil {
			r.Write(space[:got])
		}
		n -= int64(got)
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}
