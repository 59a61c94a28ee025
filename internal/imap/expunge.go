package imap

import "context"

var errReadOnly = no("READ-ONLY", "the mailbox was opened by EXAMINE")

// expunge is EXPUNGE (RFC 3501 section 6.4.3) and UID EXPUNGE (RFC 4315 section 2.1). The responses are those
// of the update behind every command.
func (s *session) expunge(c *command) error {
	among := func(*row) bool { return true }
	if c.uid {
		if err := s.dec.SP(); err != nil {
			return err
		}
		set, err := s.dec.Set()
		if err != nil {
			return err
		}
		picked, err := s.box.pick(set, true)
		if err != nil {
			return err
		}
		chosen := make(map[*row]bool, len(picked))
		for _, n := range picked {
			chosen[s.box.msgs[n-1]] = true
		}
		among = func(m *row) bool { return chosen[m] }
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	if s.box.readOnly {
		return errReadOnly
	}
	return s.box.expunge(s.ctx, among)
}

// expunge removes the messages that have \Deleted and are among those wanted, durably.
func (b *mailbox) expunge(ctx context.Context, among func(*row) bool) error {
	var doomed []*row
	for _, m := range b.msgs {
		if m.has('T') && !m.gone && among(m) {
			doomed = append(doomed, m)
		}
	}
	return b.remove(ctx, doomed)
}

// remove deletes messages durably and marks their rows.
func (b *mailbox) remove(ctx context.Context, doomed []*row) error {
	if len(doomed) == 0 {
		return nil
	}
	release, err := b.dir.LockUIDs(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, m := range doomed {
		if err := b.dir.Remove(m.entry); err != nil {
			return err
		}
		m.gone = true
	}
	return b.dir.Sync()
}
