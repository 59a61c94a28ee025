package imap

// logout is LOGOUT (RFC 3501 section 6.1.3).
func (s *session) logout(*command) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.leave()
	s.ended = true
	s.w.Line("* BYE logging out")
	return nil
}
