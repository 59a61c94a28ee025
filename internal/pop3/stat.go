package pop3

// stat tells number and size of the messages not marked as deleted (RFC 1939 section 5).
func (s *session) stat([]string) error {
	count, size := s.drop.total()
	s.ok("%d %d", count, size)
	return nil
}
