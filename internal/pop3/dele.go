package pop3

// dele marks a message as deleted (RFC 1939 section 5). It is removed at QUIT.
func (s *session) dele(args []string) error {
	it := s.drop.message(args[0])
	if it == nil {
		return s.refuse("", "no such message")
	}
	it.deleted = true
	s.ok("message %s deleted", args[0])
	return nil
}
