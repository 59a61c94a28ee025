package smtp

// rset is RFC 5321 section 4.1.1.5: the transaction is forgotten, the session is not.
func (s *session) rset(arg string) Reply {
	if arg != "" {
		return syntax("RSET")
	}
	s.reset()
	return Reply{250, "2.0.0", []string{"Ok"}}
}
