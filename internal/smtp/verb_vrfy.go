package smtp

// vrfy is RFC 5321 section 3.5.3: whether a mailbox exists is told at RCPT only, where it can be counted.
func (s *session) vrfy(arg string) Reply {
	if arg == "" {
		return syntax("VRFY address")
	}
	return Reply{252, "2.0.0", []string{"Cannot verify; send mail and see"}}
}

// expn is refused: lists are nobody's business (RFC 5321 section 7.3).
func (s *session) expn(string) Reply {
	return Reply{502, "5.7.0", []string{"Error: lists are not shown"}}
}
