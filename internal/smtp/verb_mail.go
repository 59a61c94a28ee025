package smtp

import (
	"strings"
	"time"

	"pennypost/internal/envelope"
)

// mail is RFC 5321 section 4.1.1.2: it begins a transaction. Blanks before the path are tolerated.
func (s *session) mail(arg string) Reply {
	rest, ok := cutKeyword(arg, "FROM:")
	if !ok {
		return syntax("MAIL FROM:<address>")
	}
	sender, tail, err := envelope.ParsePath(rest)
	if err != nil {
		return errorReply(err)
	}
	m := Mail{Sender: sender, Size: -1}
	known := mailParameters(&m, s.srv.BinaryMIME)
	s.promiseParameters(known, &m)
	if bad := s.parameters(tail, known); bad != nil {
		return *bad
	}
	switch {
	case sender.Domain == "" && !sender.IsNull():
		return Reply{553, "5.1.7", []string{"Error: a sender needs a domain"}}
	case !m.SMTPUTF8 && sender.NeedsUTF8():
		return needUTF8()
	case m.Size > s.srv.MaxSize:
		return Reply{552, "5.3.4", []string{"Error: message size exceeds the limit"}}
	}
	if err := s.srv.Handler.Mail(s.ctx, &s.facts, &m); err != nil {
		s.logRefusal("sender refused", err, "from", m.Sender.String())
		return errorReply(err)
	}
	s.facts.ID = s.srv.NewID()
	env := s.facts.Envelope
	env.Sender, env.Body, env.SMTPUTF8, env.Ret, env.EnvID = m.Sender, m.Body, m.SMTPUTF8, m.Ret, m.EnvID
	env.RequireTLS, env.Priority, env.By, env.HoldFor, env.HoldUntil = m.RequireTLS, m.Priority, m.By, m.HoldFor, m.HoldUntil
	s.state, s.began = sending, time.Now()
	return Reply{250, "2.1.0", []string{"Ok"}}
}

// mailParameters says how each parameter of MAIL is stored in m; false means that its value is malformed. binary: BINARYMIME
// is offered.
func mailParameters(m *Mail, binary bool) map[string]func(value string) bool {
	return map[string]func(string) bool{
		"SIZE": func(v string) bool { return parseSize(v, &m.Size) },
		"BODY": func(v string) bool {
			m.Body = strings.ToUpper(v)
			return m.Body == "7BIT" || m.Body == "8BITMIME" || m.Body == BinaryMIME && binary
		},
		"SMTPUTF8": func(v string) bool { m.SMTPUTF8 = true; return v == "" },
		"RET": func(v string) bool {
			m.Ret = strings.ToUpper(v)
			return m.Ret == "FULL" || m.Ret == "HDRS"
		},
		"ENVID": func(v string) bool { m.EnvID = v; return len(v) <= 100 && validXtext(v) },
		"AUTH":  func(v string) bool { m.Auth = v; return validAuthParameter(v) },
	}
}

func needUTF8() Reply {
	return Reply{553, "5.6.7", []string{"Error: an address that is not ASCII needs SMTPUTF8 in MAIL (RFC 6531)"}}
}
