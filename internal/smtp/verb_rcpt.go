package smtp

import (
	"strings"

	"pennypost/internal/envelope"
)

// rcpt is RFC 5321 section 4.1.1.3: it names one recipient.
func (s *session) rcpt(arg string) Reply {
	rest, ok := cutKeyword(arg, "TO:")
	if !ok {
		return syntax("RCPT TO:<address>")
	}
	r, bad := s.recipient(rest)
	if bad != nil {
		s.refused++
		return *bad
	}
	said := r.Address
	if err := s.srv.Handler.Rcpt(s.ctx, &s.facts, r); err != nil {
		s.refused++
		s.logRefusal("recipient refused", err, "from", s.facts.Envelope.Sender.String(), "rcpt", said.String())
		return errorReply(err)
	}
	if full := s.full(r); full != nil {
		return *full
	}
	s.addRecipient(r)
	return Reply{250, "2.1.5", []string{"Ok"}}
}

// recipient reads path and parameters.
func (s *session) recipient(rest string) (*Recipient, *Reply) {
	a, tail, err := envelope.ParsePath(rest)
	if err != nil {
		r := errorReply(err)
		return nil, &r
	}
	r := &Recipient{Address: a}
	if bad := s.parameters(tail, rcptParameters(r)); bad != nil {
		return nil, bad
	}
	switch {
	case a.IsNull():
		return nil, &Reply{501, "5.1.3", []string{"Error: the null path is no recipient"}}
	case a.NeedsUTF8() && !s.facts.Envelope.SMTPUTF8:
		bad := needUTF8()
		return nil, &bad
	}
	return r, nil
}

// rcptParameters are those of RFC 3461 section 4.
func rcptParameters(r *Recipient) map[string]func(value string) bool {
	return map[string]func(string) bool{
		"NOTIFY": func(v string) bool { r.Notify = strings.ToUpper(v); return validNotify(r.Notify) },
		"ORCPT":  func(v string) bool { r.ORcpt = v; return validORcpt(v) },
	}
}

// noRoom is "too many recipients" of RFC 3463 section 3.6.
const noRoom = "4.5.3"

// full is the refusal of a recipient for which there is no room (RFC 5321 section 4.5.3.1.10), or nil.
func (s *session) full(r *Recipient) *Reply {
	n := len(s.facts.Envelope.Recipients)
	if n < s.srv.MaxRecipients && s.names+r.room() <= envelope.MaxRecipients {
		return nil
	}
	return &Reply{452, noRoom, []string{"Error: too many recipients"}}
}

func (s *session) addRecipient(r *Recipient) {
	env := s.facts.Envelope
	env.Recipients = append(env.Recipients, r.Address)
	s.names += r.room()
	env.Notify = beside(env.Notify, r.Notify, len(env.Recipients))
	env.ORcpt = beside(env.ORcpt, r.ORcpt, len(env.Recipients))
	s.state = addressed
}

// room is the longest line that the recipient takes in a variable of mailpipe(7).
func (r *Recipient) room() int {
	return max(len(r.Address.String()), len(r.Notify), len(r.ORcpt)) + 1
}

// beside adds the value of recipient number n to a list that stays empty until there is a value.
func beside(list []string, value string, n int) []string {
	if value == "" && len(list) == 0 {
		return nil
	}
	for len(list) < n-1 {
		list = append(list, "")
	}
	return append(list, value)
}
