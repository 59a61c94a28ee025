package smtp

// data is RFC 5321 section 4.1.1.4.
func (s *session) data(arg string) Reply {
	if arg != "" {
		return syntax("DATA")
	}
	s.reply(Reply{354, "", []string{"End data with <CR><LF>.<CR><LF>"}})
	r := s.receiver(true)
	if err := s.readData(r); err != nil {
		r.discard()
		s.logFate(err, r.size)
		s.inputLost(err)
		return Reply{}
	}
	return s.finish(r, true)
}
