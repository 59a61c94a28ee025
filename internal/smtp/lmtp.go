package smtp

import (
	"bytes"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// smtpPort is where LMTP must not be spoken (RFC 2033 section 5).
const smtpPort = "25"

func speaksLMTP(s *session) bool { return s.srv.Service == LMTP }
func speaksSMTP(s *session) bool { return s.srv.Service != LMTP }

// refusePort is the refusal of LMTP on the port of SMTP, or nil: a client there would take the first of several replies to
// its message for the only one.
func (s *session) refusePort() error {
	if s.srv.Service == LMTP && s.facts.Envelope.Conn.LocalPort == smtpPort {
		return status.Errorf(status.Config, "Error: LMTP is not spoken on port 25 (RFC 2033 section 5)").WithReply(554, "5.3.5")
	}
	return nil
}

// acceptEach is accept under LMTP (RFC 2033 section 4.2): the message is handed on once for each recipient, in the order of
// the RCPT commands and doubles included, and each reply leaves as soon as it is known. trace is the Received field that is in top for all of them; each gets its own.
func (s *session) acceptEach(top *message.Message, trace []byte, size int64) {
	all := s.facts.Envelope
	for i := range all.Recipients {
		s.facts.Envelope = all.For(i)
		s.reply(s.handOn(retrace(top, trace, s.traceField()), size))
		if s.flush() != nil {
			break // nobody is there to be told; the client sends to the others again
		}
	}
	s.facts.Envelope = all
	s.reset()
}

// retrace replaces the field trace of a message by another; what a handler has put above it stays there.
func retrace(m *message.Message, trace, by []byte) *message.Message {
	if m == nil {
		return nil
	}
	header, err := m.Header()
	if err != nil {
		return m // the handler meets that too, and says so
	}
	var above []byte
	for _, f := range header.Fields {
		if bytes.Equal(f.Raw, trace) {
			return m.Without([]message.Span{{Len: int64(len(above) + len(trace))}}).Prepend(append(above, by...))
		}
		above = append(above, f.Raw...)
	}
	return m
}

// refuseMessage is the reply to a message that was not handed on. Under LMTP its end is answered for each recipient; a chunk
// that is not the last has one answer (RFC 2033 section 4.3).
func (s *session) refuseMessage(err error, end bool) Reply {
	r := errorReply(err)
	if s.srv.Service == LMTP && end {
		for range len(s.facts.Envelope.Recipients) - 1 {
			s.reply(r)
		}
	}
	s.reset()
	return r
}
