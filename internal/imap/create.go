package imap

import (
	"errors"
	"io/fs"
)

// create is CREATE (RFC 3501 section 6.3.3). Levels above need not be made: a Maildir++ is flat.
func (s *session) create(*command) error {
	name, err := s.onlyMailbox()
	if err != nil {
		return err
	}
	return s.make(name)
}

// make makes a mailbox and gives it its UIDVALIDITY.
func (s *session) make(name string) error {
	if name == inbox {
		return no("ALREADYEXISTS", "INBOX is always there")
	}
	if err := validName(name); err != nil {
		return err
	}
	dir, err := s.account.Dir.CreateFolder(name)
	switch {
	case errors.Is(err, fs.ErrExist):
		return no("ALREADYEXISTS", "there is a mailbox of that name")
	case errors.Is(err, fs.ErrInvalid):
		return no("CANNOT", "no mailbox can have that name")
	case err != nil:
		return err
	}
	defer dir.Close()
	_, err = dir.Index(s.ctx, s.account.Dir.NewValidity)
	return err
}
