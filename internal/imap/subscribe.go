package imap

// subscribe is SUBSCRIBE and UNSUBSCRIBE (RFC 3501 sections 6.3.6, 6.3.7). What is not there can only be
// taken off the list.
func (s *session) subscribe(c *command) error {
	name, err := s.onlyMailbox()
	if err != nil {
		return err
	}
	on := c.name == "SUBSCRIBE"
	if on {
		dir, err := s.open(name, "NONEXISTENT")
		if err != nil {
			return err
		}
		dir.Close()
	}
	return s.account.Dir.Subscribe(s.ctx, name, on)
}
