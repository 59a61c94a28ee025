package imap

import (
	"fmt"
	"strings"

	"pennypost/internal/maildir"
)

// maxItems bounds lists in commands: of STATUS items, flags, header names.
const maxItems = 1000

// status is STATUS (RFC 3501 section 6.3.10).
func (s *session) status(*command) error {
	name, err := s.mailboxArg()
	if err != nil {
		return err
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	items, err := s.words(s.dec.Atom)
	if err != nil {
		return err
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	dir, err := s.open(name, "NONEXISTENT")
	if err != nil {
		return err
	}
	defer dir.Close()
	x, err := dir.Index(s.ctx, s.account.Dir.NewValidity)
	if err != nil {
		return err
	}
	var values []string
	for _, item := range items {
		item = strings.ToUpper(item)
		n, err := statusItem(x, item)
		if err != nil {
			return err
		}
		values = append(values, fmt.Sprintf("%s %d", item, n))
	}
	s.w.Raw("* STATUS ")
	s.w.AString(name)
	s.w.Line(" (%s)", strings.Join(values, " "))
	return nil
}

func statusItem(x *maildir.Index, item string) (int, error) {
	count := func(ok func(m maildir.Indexed) bool) int {
		n := 0
		for _, m := range x.Messages {
			if ok(m) {
				n++
			}
		}
		return n
	}
	switch item {
	case "MESSAGES":
		return len(x.Messages), nil
	case "RECENT":
		return count(func(m maildir.Indexed) bool { return m.Sub == "new" }), nil
	case "UNSEEN":
		return count(func(m maildir.Indexed) bool { return !strings.Contains(m.Flags, "S") }), nil
	case "UIDNEXT":
		return int(x.Next), nil
	case "UIDVALIDITY":
		return int(x.Validity), nil
	}
	return 0, bad("there is no STATUS item %s", item)
}

// words reads a parenthesised list of what read reads; it may be empty.
func (s *session) words(read func() (string, error)) ([]string, error) {
	if err := s.dec.Expect('('); err != nil {
		return nil, err
	}
	var list []string
	for !s.dec.Accept(')') {
		if len(list) > 0 {
			if err := s.dec.SP(); err != nil {
				return nil, err
			}
		}
		if len(list) == maxItems {
			return nil, bad("a list is too long")
		}
		word, err := read()
		if err != nil {
			return nil, err
		}
		list = append(list, word)
	}
	return list, nil
}
