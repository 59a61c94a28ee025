package smtp

// lhlo is RFC 2033 section 4.1: the greeting of LMTP, with the semantics of EHLO.
func (s *session) lhlo(arg string) Reply {
	return s.extended(arg, "LHLO hostname")
}
