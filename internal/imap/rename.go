package imap

import (
	"fmt"
	"strings"
)

// rename is RENAME (RFC 3501 section 6.3.5). The mailboxes below go with it. INBOX stays: its messages move.
func (s *session) rename(c *command) error {
	from, err := s.mailboxArg()
	if err != nil {
		return err
	}
	to, err := s.onlyMailbox()
	if err != nil {
		return err
	}
	switch {
	case to == inbox:
		return no("ALREADYEXISTS", "INBOX is always there")
	case from == inbox:
		return s.renameInbox(to)
	case strings.HasPrefix(to, from+"."):
		return no("CANNOT", "a mailbox cannot move below itself")
	}
	if err := validName(to); err != nil {
		return err
	}
	folders, err := s.account.Dir.Folders()
	if err != nil {
		return err
	}
	moves, err := planRename(folders, from, to)
	if err != nil {
		return err
	}
	if s.box != nil && (s.box.name == from || strings.HasPrefix(s.box.name, from+".")) {
		s.leave()
	}
	for _, m := range moves {
		if err := s.account.Dir.Root().Rename("."+m[0], "."+m[1]); err != nil {
			return fmt.Errorf("rename mailbox %q to %q: %w", m[0], m[1], err)
		}
	}
	return nil
}

// planRename lists old and new names of the folders that move; none of the new ones may be there.
func planRename(folders []string, from, to string) ([][2]string, error) {
	have := make(map[string]bool, len(folders))
	for _, f := range folders {
		have[f] = true
	}
	var moves [][2]string
	for _, f := range folders {
		rest, ok := strings.CutPrefix(f, from)
		if !ok || rest != "" && rest[0] != '.' {
			continue
		}
		if have[to+rest] {
			return nil, no("ALREADYEXISTS", "there is a mailbox of that name")
		}
		if len(to+rest) > maxName {
			return nil, no("CANNOT", "the name is too long")
		}
		moves = append(moves, [2]string{f, to + rest})
	}
	if len(moves) == 0 {
		return nil, no("NONEXISTENT", "there is no such mailbox")
	}
	if to == "" || strings.HasPrefix(to, ".") || strings.Contains(to, "..") || have[to] {
		return nil, no("CANNOT", "no mailbox can have that name")
	}
	return moves, nil
}

// maxName is the longest name of a folder, as in package maildir.
const maxName = 200

// renameInbox moves all messages of INBOX into a new mailbox.
func (s *session) renameInbox(to string) error {
	if err := s.make(to); err != nil {
		return err
	}
	dir, err := s.open(inbox, "NONEXISTENT")
	if err != nil {
		return err
	}
	defer dir.Close()
	box, err := openMailbox(s.ctx, dir, inbox, false, s.account.Dir.NewValidity)
	if err != nil {
		return err
	}
	target, err := s.open(to, "NONEXISTENT")
	if err != nil {
		return err
	}
	defer target.Close()
	if _, err := box.copyTo(s.ctx, box.msgs, target); err != nil {
		return err
	}
	return box.remove(s.ctx, box.msgs)
}
