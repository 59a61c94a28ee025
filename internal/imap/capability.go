package imap

import "strings"

// capabilities lists what holds in the session's state.
func (s *session) capabilities() string {
	caps := []string{"IMAP4rev1", "LITERAL+", "ID"}
	if s.state != notAuthenticated {
		caps = append(caps, "IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT", "CHILDREN", "MOVE")
		return strings.Join(caps, " ")
	}
	caps = append(caps, "SASL-IR")
	if s.canStartTLS() {
		caps = append(caps, "STARTTLS")
	}
	if !s.mayLogin() {
		return strings.Join(append(caps, "LOGINDISABLED"), " ")
	}
	if s.cfg.SASL != nil {
		for _, m := range s.cfg.Mechanisms {
			caps = append(caps, "AUTH="+m)
		}
	}
	return strings.Join(caps, " ")
}

// capability is CAPABILITY (RFC 3501 section 6.1.1).
func (s *session) capability(*command) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.w.Line("* CAPABILITY %s", s.capabilities())
	return nil
}
