package imap

import (
	"slices"
	"strings"
)

// A change is what STORE does to the flags of each message.
type change struct {
	op     byte // '+', '-' or '=' for all flags
	flags  []string
	silent bool
}

// store is STORE and UID STORE (RFC 3501 section 6.4.6).
func (s *session) store(c *command) error {
	if err := s.dec.SP(); err != nil {
		return err
	}
	set, err := s.dec.Set()
	if err != nil {
		return err
	}
	ch, err := s.changeArg()
	if err != nil {
		return err
	}
	picked, err := s.box.pick(set, c.uid)
	if err != nil {
		return err
	}
	if s.box.readOnly {
		return errReadOnly
	}
	want, err := letters(s.ctx, s.box.dir, ch.flags)
	if err != nil {
		return err
	}
	if err := s.box.refreshKeywords(s.w); err != nil {
		return err
	}
	gone, err := s.apply(picked, ch, want)
	if err != nil {
		return err
	}
	for _, n := range picked {
		if m := s.box.msgs[n-1]; !m.gone && (!ch.silent || !m.told) {
			s.box.tellFetch(s.w, n, m, c.uid)
		}
	}
	if gone > 0 {
		c.code, c.text = "EXPUNGEISSUED", "some messages are gone"
	}
	return nil
}

// changeArg reads "+FLAGS.SILENT (...)" and the end of the command.
func (s *session) changeArg() (*change, error) {
	if err := s.dec.SP(); err != nil {
		return nil, err
	}
	word, err := s.dec.Atom()
	if err != nil {
		return nil, err
	}
	ch := &change{op: '='}
	word = strings.ToUpper(word)
	if word[0] == '+' || word[0] == '-' {
		ch.op, word = word[0], word[1:]
	}
	word, ch.silent = strings.CutSuffix(word, ".SILENT")
	if word != "FLAGS" {
		return nil, bad("there is nothing to store but FLAGS")
	}
	if err := s.dec.SP(); err != nil {
		return nil, err
	}
	if ch.flags, err = s.flagsArg(); err != nil {
		return nil, err
	}
	return ch, s.dec.End()
}

// flagsArg reads flags in parentheses or without.
func (s *session) flagsArg() ([]string, error) {
	if c, _ := s.dec.Peek(); c == '(' {
		return s.words(s.dec.Flag)
	}
	var flags []string
	for len(flags) < maxItems {
		f, err := s.dec.Flag()
		if err != nil {
			return nil, err
		}
		flags = append(flags, f)
		if c, more := s.dec.Peek(); !more || c != ' ' {
			return flags, nil
		}
		if err := s.dec.SP(); err != nil {
			return nil, err
		}
	}
	return nil, bad("a list is too long")
}

// apply changes the files' names, durably, under the lock that keeps other programs from scanning meanwhile.
func (s *session) apply(picked []int, ch *change, want string) (gone int, err error) {
	release, err := s.box.dir.LockUIDs(s.ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	for _, n := range picked {
		m := s.box.msgs[n-1]
		e, err := s.box.dir.SetFlags(m.entry, changed(m.entry.Flags, ch.op, want))
		if notExist(err) {
			gone++
			continue
		}
		if err != nil {
			return gone, err
		}
		// What another one changed at the same time is news to the client.
		m.told = m.told && e.Flags == sorted(changed(m.entry.Flags, ch.op, want))
		m.entry = e
	}
	return gone, s.box.dir.Sync()
}

// changed is the new flags of a message that has the letters old. Letters that no client can set stay.
func changed(old string, op byte, want string) string {
	var out []byte
	for i := range len(old) {
		c := old[i]
		drop := op == '-' && strings.IndexByte(want, c) >= 0 ||
			op == '=' && strings.IndexByte(want, c) < 0 && settable(c)
		if !drop {
			out = append(out, c)
		}
	}
	for i := range len(want) {
		if op != '-' && strings.IndexByte(string(out), want[i]) < 0 {
			out = append(out, want[i])
		}
	}
	return string(out)
}

// settable tells the letters that flags and keywords have.
func settable(c byte) bool {
	for _, f := range systemFlags {
		if f.letter == c {
			return true
		}
	}
	return c >= 'a' && c <= 'z'
}

func sorted(letters string) string {
	b := []byte(letters)
	slices.Sort(b)
	return string(b)
}
