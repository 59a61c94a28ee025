package imap

// selectBox is SELECT and EXAMINE (RFC 3501 sections 6.3.1, 6.3.2).
func (s *session) selectBox(c *command) error {
	name, err := s.onlyMailbox()
	if err != nil {
		return err
	}
	s.leave()
	dir, err := s.open(name, "NONEXISTENT")
	if err != nil {
		return err
	}
	box, err := openMailbox(s.ctx, dir, name, c.name == "EXAMINE", s.account.Dir.NewValidity)
	if err != nil {
		dir.Close()
		return err
	}
	s.box, s.state = box, selected
	box.tellKeywords(s.w)
	s.w.Line("* %d EXISTS", len(box.msgs))
	s.w.Line("* %d RECENT", box.recents())
	if n := box.firstUnseen(); n > 0 {
		s.w.Line("* OK [UNSEEN %d] the first not read", n)
	}
	s.w.Line("* OK [UIDVALIDITY %d] UIDs are valid", box.validity)
	s.w.Line("* OK [UIDNEXT %d] the next UID", box.next)
	c.code = "READ-WRITE"
	if box.readOnly {
		c.code = "READ-ONLY"
	}
	return nil
}

func (b *mailbox) firstUnseen() int {
	for i, m := range b.msgs {
		if !m.has('S') {
			return i + 1
		}
	}
	return 0
}

// has tells whether a message has the flag of that letter.
func (m *row) has(letter byte) bool {
	for i := range len(m.entry.Flags) {
		if m.entry.Flags[i] == letter {
			return true
		}
	}
	return false
}

// unselect is UNSELECT (RFC 3691).
func (s *session) unselect(*command) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.leave()
	return nil
}

// closeBox is CLOSE (RFC 3501 section 6.4.2): EXPUNGE without a word, unless the mailbox was only examined.
func (s *session) closeBox(*command) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	if !s.box.readOnly {
		if err := s.box.expunge(s.ctx, func(m *row) bool { return true }); err != nil {
			return err
		}
	}
	s.leave()
	return nil
}
