package imap

// id is ID (RFC 2971). The client's answer is read and not kept; "()" is tolerated beside NIL.
func (s *session) id(*command) error {
	if err := s.dec.SP(); err != nil {
		return err
	}
	if s.dec.Accept('(') {
		for first := true; !s.dec.Accept(')'); first = false {
			if !first {
				if err := s.dec.SP(); err != nil {
					return err
				}
			}
			if _, err := s.dec.AString(); err != nil { // NIL is an atom
				return err
			}
		}
	} else if _, err := s.dec.Atom(); err != nil {
		return err
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	s.w.Line(`* ID ("name" "Pennypost")`)
	return nil
}
