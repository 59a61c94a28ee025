package smtp

import (
	"context"
	"strings"

	"pennypost/internal/envelope"
)

// Verifier answers VRFY and EXPN: said is the address that a client's word names, which may have come without a domain, and
// box the mailbox it leads to.
type Verifier func(ctx context.Context, f *Facts, word string) (said, box envelope.Address, err error)

// vrfy is RFC 5321 section 3.5.3. Unless the server was told otherwise, whether a mailbox exists is told at RCPT only.
func (s *session) vrfy(arg string) Reply {
	if arg == "" {
		return syntax("VRFY address")
	}
	said, _, err := s.verify(arg)
	return s.verified(said, err)
}

// expn is RFC 5321 section 3.5.2: the mailbox behind an alias. Where VRFY tells nothing, lists are nobody's business either
// (section 7.3).
func (s *session) expn(arg string) Reply {
	switch {
	case s.srv.Verify == nil:
		return Reply{502, "5.7.0", []string{"Error: lists are not shown"}}
	case arg == "":
		return syntax("EXPN address")
	}
	_, box, err := s.verify(arg)
	return s.verified(box, err)
}

// verify asks, for "address" or "address SMTPUTF8" (RFC 6531 section 3.7.4.2).
func (s *session) verify(arg string) (said, box envelope.Address, err error) {
	if s.srv.Verify == nil {
		return said, box, nil
	}
	word, _ := strings.CutSuffix(arg, " SMTPUTF8")
	return s.srv.Verify(s.ctx, &s.facts, word)
}

// verified tells the address that was found, unless there is none to tell, or none in ASCII.
func (s *session) verified(a envelope.Address, err error) Reply {
	switch {
	case err != nil:
		s.logRefusal("address not verified", err)
		return errorReply(err)
	case a.IsNull() || a.NeedsUTF8():
		return Reply{252, "2.0.0", []string{"Cannot verify; send mail and see"}}
	}
	return Reply{250, "2.1.5", []string{a.Path()}}
}
