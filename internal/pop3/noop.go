package pop3

// noop does nothing (RFC 1939 section 5).
func (s *session) noop([]string) error {
	s.ok("nothing done")
	return nil
}
