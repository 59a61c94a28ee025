package pop3

// rset takes all marks of DELE back (RFC 1939 section 5).
func (s *session) rset([]string) error {
	for _, it := range s.drop.items {
		it.deleted = false
	}
	return s.stat(nil)
}
