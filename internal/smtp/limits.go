package smtp

import (
	"bytes"
	"fmt"
	"time"

	"pennypost/internal/status"
)

// Defaults of the limits in this file.
const (
	DefaultMinRate    = 500
	DefaultMaxHeader  = 1000000
	defaultLoginDelay = time.Second
	maxLoginDelay     = 30 * time.Second
)

// patience is how long the session still waits for message data. Waiting uses it up, bytes that come give it back at the
// minimum rate, and it never exceeds the time that one block of data has (RFC 5321 section 4.5.3.2.5): a client may pause for
// that long, and be slower than the minimum rate for not much longer. Time that we take ourselves does not count.
type patience struct {
	most time.Duration
	rate int // bytes a second, 0 or less = none: every block has its time
	left time.Duration
}

func newPatience(most time.Duration, rate int) patience {
	return patience{most: most, rate: rate, left: most}
}

// spend accounts for a read that took so long and brought n bytes.
func (p *patience) spend(took time.Duration, n int) {
	if p.rate <= 0 {
		return
	}
	earned := time.Duration(n) * time.Second / time.Duration(p.rate)
	p.left = min(p.most, max(0, p.left-took)+earned)
}

// shape looks for what makes a message too long otherwise than by its size: its header section, and single lines. Lengths
// are in octets with CRLF. Like the receiver it takes everything that comes, however it is cut.
type shape struct {
	maxLine   int   // 0 = no limit
	maxHeader int64 // 0 = no limit

	body   bool // the header is over: an empty line came, or no field at the beginning
	line   int64
	column int
	header int64
	field  bool // this line belongs to a header field
	err    error
}

// write looks at p. Behind the header, and without a limit for lines, it costs nothing.
func (h *shape) write(p []byte) {
	for len(p) > 0 && h.err == nil && !(h.body && h.maxLine == 0) {
		n := bytes.IndexByte(p, '\n') + 1
		ended := n > 0
		if !ended {
			n = len(p)
		}
		h.piece(p[:n], ended)
		p = p[n:]
	}
}

// piece takes the rest of a line, or a part of one.
func (h *shape) piece(p []byte, ended bool) {
	if !h.body {
		h.header += int64(len(p))
		h.field = h.field || h.column == 0 && (p[0] == ' ' || p[0] == '\t') || bytes.IndexByte(p, ':') >= 0
	}
	h.column += len(p)
	switch {
	case h.maxLine > 0 && h.column > h.maxLine:
		h.err = status.Errorf(status.Data, "Error: line %d of the message is longer than %d octets", h.line+1, h.maxLine).WithReply(500, "5.6.0")
	case (h.field || !h.body && h.line > 0) && h.maxHeader > 0 && h.header > h.maxHeader:
		h.err = status.Errorf(status.Data, "Error: message header exceeds %d octets", h.maxHeader).WithReply(552, "5.3.4")
	}
	if ended {
		h.body = h.body || !h.field && (h.line == 0 || h.column <= len("\r\n"))
		h.line, h.column, h.field = h.line+1, 0, false
	}
}

// receiver begins a message with all limits of the engine; stuffed says that dots were added to its lines, as for DATA.
func (s *session) receiver(stuffed bool) *receiver {
	r := newReceiver(s.srv.MaxSize)
	r.shape = shape{maxLine: s.srv.MaxLine, maxHeader: max(0, s.srv.MaxHeader)}
	r.binary = s.facts.Envelope.Body == BinaryMIME
	if !r.binary {
		r.normal = s.normalizer(stuffed)
	}
	s.patience = newPatience(s.srv.DataTimeout, s.srv.MinRate)
	return r
}

// penalise lets the reply to a failed login wait: the first for LoginDelay, each further one for twice as long, so that
// guessing passwords takes its time. It waits no longer than the session may last.
func (s *session) penalise() {
	if s.logins == s.penalised {
		return
	}
	s.penalised = s.logins
	delay := s.srv.LoginDelay
	for i := 1; i < s.logins && delay < maxLoginDelay; i++ {
		delay *= 2
	}
	t := time.NewTimer(time.Until(s.cap(time.Now().Add(min(delay, maxLoginDelay)))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.srv.Stopping:
	case <-s.ctx.Done():
	}
}

// slow is what is said to a client whose message data does not come.
func (s *session) slow() Reply {
	text := s.srv.Name + " Error: timeout exceeded"
	if s.inData && s.srv.MinRate > 0 && s.patience.left <= 0 {
		text = fmt.Sprintf("%s Error: timeout exceeded, the message comes at less than %d octets a second", s.srv.Name, s.srv.MinRate)
	}
	return Reply{421, "4.4.2", []string{text}}
}
