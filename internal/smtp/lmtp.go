package smtp

import (
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
// the RCPT commands and doubles included, and each reply leaves as soon as it is known. It closes m.
func (s *session) acceptEach(m *message.Message) {
	defer m.Close()
	all := s.facts.Envelope
	for i := range all.Recipients {
		s.facts.Envelope = all.For(i)
		s.reply(s.handOn(m))
		if s.flush() != nil {
			break // nobody is there to be told; the client sends to the others again
		}
	}
	s.facts.Envelope = all
	s.reset()
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
