package smtp

// etrn is RFC 1985 for a server that keeps no mail for others; it is not in the reply to EHLO.
func (s *session) etrn(arg string) Reply {
	if arg == "" {
		return syntax("ETRN domain")
	}
	return Reply{458, "4.3.0", []string{"Error: there is no queue here"}}
}
