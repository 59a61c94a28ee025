package pop3

import (
	"errors"
	"io/fs"
)

// quit ends the session (RFC 1939 sections 4 and 6). After a login it first
// removes the messages marked as deleted and moves the others out of new. A
// message that is gone already counts as removed.
func (s *session) quit([]string) error {
	s.sum.Quit = true
	if s.state == transaction {
		if err := s.update(); err != nil {
			s.o.Log.Error("mailbox not updated", "user", s.sum.User, "error", err)
			s.fail("SYS/TEMP", "some deleted messages not removed")
			return errEnd
		}
	}
	s.ok("bye")
	return errEnd
}

func (s *session) update() error {
	var errs []error
	changed := false
	for _, it := range s.drop.items {
		var err error
		changed = changed || it.deleted || it.entry.Sub == "new"
		switch {
		case it.deleted:
			if err = s.dir.Remove(it.entry); err == nil {
				s.sum.Removed++
			}
		case it.entry.Sub == "new":
			_, err = s.dir.MoveNew(it.entry)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if changed {
		errs = append(errs, s.dir.Sync())
	}
	return errors.Join(errs...)
}
