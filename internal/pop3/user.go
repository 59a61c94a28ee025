package pop3

// userName takes the name (RFC 1939 section 7). Whether there is such a user is
// not told before the password came.
func (s *session) userName(args []string) error {
	if !s.clear() {
		return s.needTLS()
	}
	s.user = args[0]
	s.ok("send PASS")
	return nil
}

func (s *session) needTLS() error {
	if s.canTLS() {
		return s.refuse("", "give STLS before a password")
	}
	return s.refuse("", "passwords are only taken over TLS")
}
