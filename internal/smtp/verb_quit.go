package smtp

// quit is RFC 5321 section 4.1.1.10.
func (s *session) quit(arg string) Reply {
	if arg != "" {
		return syntax("QUIT")
	}
	s.closing = true
	return Reply{221, "2.0.0", []string{"Bye"}}
}
