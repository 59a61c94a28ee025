package imap

import (
	"errors"
	"io/fs"
	"strings"

	"pennypost/internal/maildir"
)

// inbox is the one name that has no case (RFC 3501 section 5.1). Other names are passed as they stand on
// disk, in modified UTF-7, with '.' between levels.
const inbox = "INBOX"

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// canonical writes INBOX in upper case and takes the separator off the end, by which clients say that a
// mailbox is to have others below it.
func canonical(name string) string {
	if strings.EqualFold(name, inbox) {
		return inbox
	}
	return strings.TrimSuffix(name, ".")
}

// folder is the name of a mailbox's folder in the Maildir++: "" for INBOX.
func folder(name string) string {
	if name == inbox {
		return ""
	}
	return name
}

// open opens a mailbox. missing is the response code when there is none.
func (s *session) open(name, missing string) (*maildir.Dir, error) {
	if name == "" {
		return nil, no("CANNOT", "a mailbox has a name")
	}
	dir, err := s.account.Dir.Folder(folder(name))
	switch {
	case errors.Is(err, fs.ErrInvalid):
		return nil, no("CANNOT", "no mailbox can have that name")
	case notExist(err):
		return nil, no(missing, "there is no such mailbox")
	}
	return dir, err
}

// mailboxArg reads a blank and a mailbox name.
func (s *session) mailboxArg() (string, error) {
	if err := s.dec.SP(); err != nil {
		return "", err
	}
	name, err := s.dec.AString()
	return canonical(name), err
}

// onlyMailbox reads the one argument of a command.
func (s *session) onlyMailbox() (string, error) {
	name, err := s.mailboxArg()
	if err != nil {
		return "", err
	}
	return name, s.dec.End()
}

// validName refuses to make a mailbox that other clients could not name: bytes beyond ASCII are not
// modified UTF-7, which has one form for each name, and wildcards cannot be listed.
func validName(name string) error {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c >= 0x7f || c == '%' || c == '*' || c == '/' {
			return no("CANNOT", "a mailbox name is written in modified UTF-7, without / %% *")
		}
	}
	if _, err := maildir.FolderName(name); err != nil {
		return no("CANNOT", "no mailbox can have that name")
	}
	return nil
}
