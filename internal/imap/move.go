package imap

// move is MOVE and UID MOVE (RFC 6851): the copies are durable before the first message goes.
func (s *session) move(c *command) error {
	rows, target, err := s.copyArgs(c)
	if err != nil {
		return err
	}
	defer target.Close()
	if s.box.readOnly {
		return errReadOnly
	}
	if len(rows) == 0 {
		return nil
	}
	code, err := s.box.copyTo(s.ctx, rows, target)
	if err != nil {
		return err
	}
	if code != "" {
		s.w.Line("* OK [%s] the new UIDs", code)
	}
	return s.box.remove(s.ctx, rows)
}
