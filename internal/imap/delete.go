package imap

import (
	"crypto/rand"
	"fmt"
)

// delete is DELETE (RFC 3501 section 6.3.4). Mailboxes below it stay. The folder is first moved to a name that
// no mailbox has, so that a crash leaves no half of one.
func (s *session) delete(*command) error {
	name, err := s.onlyMailbox()
	if err != nil {
		return err
	}
	if name == inbox {
		return no("CANNOT", "INBOX cannot be deleted")
	}
	dir, err := s.open(name, "NONEXISTENT")
	if err != nil {
		return err
	}
	dir.Close()
	if s.box != nil && s.box.name == name {
		s.leave()
	}
	root := s.account.Dir.Root()
	trash := "..deleted." + rand.Text()
	if err := root.Rename("."+name, trash); err != nil {
		return fmt.Errorf("delete mailbox %q: %w", name, err)
	}
	return root.RemoveAll(trash)
}
