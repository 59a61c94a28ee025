package pop3

// capa tells what the server can do in the present state (RFC 2449 section 5).
func (s *session) capa([]string) error {
	lines := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"}
	if s.state == authorization {
		if s.clear() {
			lines = append(lines, "USER")
		}
		if s.canTLS() {
			lines = append(lines, "STLS")
		}
	}
	s.ok("capability list follows")
	s.list(append(lines, "IMPLEMENTATION pennypost"))
	return nil
}

// clear reports whether a password may be sent now.
func (s *session) clear() bool { return s.o.Secure || s.o.Plaintext }

// canTLS reports whether STLS can be given now.
func (s *session) canTLS() bool { return s.o.TLS != nil && !s.o.Secure }
