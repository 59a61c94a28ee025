package smtp

// noop is RFC 5321 section 4.1.1.9: nothing happens; an argument is ignored.
func (s *session) noop(string) Reply {
	return Reply{250, "2.0.0", []string{"Ok"}}
}
