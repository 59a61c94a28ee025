package smtp

// data is RFC 5321 section 4.1.1.4. Binary data has no lines and so no end: RFC 3030 section 3 has 503 for it, and the
// transaction over.
func (s *session) data(arg string) Reply {
	if arg != "" {
		return syntax("DATA")
	}
	if s.facts.Envelope.Body == BinaryMIME {
		s.reset()
		return Reply{503, "5.5.1", []string{"Error: BODY=BINARYMIME needs BDAT"}}
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
