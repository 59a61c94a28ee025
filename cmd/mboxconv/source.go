package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"pennypost/internal/maildir"
	"pennypost/internal/mbox"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// source yields the messages of a mailbox in order.
type source interface {
	next() (*item, error)     // io.EOF, and no item, at the end
	check() error             // after the last: whether what was read can be relied on
	progress() (at, of int64) // of is -1 if unknown
	close()
}

// item is one message. From an mbox it has raw, from a Maildir the file and the entry.
type item struct {
	raw   *mbox.Message
	rule  mbox.Rule
	entry maildir.Entry
	file  *os.File
	info  fs.FileInfo
}

func (it *item) close() {
	if it.file != nil {
		it.file.Close()
	}
}

// message is the file of a Maildir.
func (it *item) message() *message.Message { return message.New(it.file, it.info.Size()) }

func (it *item) flags() mbox.Flags {
	return mbox.Flags{Letters: it.entry.Flags, New: it.entry.Sub == "new" && it.entry.Flags == ""}
}

func openSource(l location, o options, stdin io.Reader) (source, error) {
	if l.maildir {
		return openMaildir(l.path)
	}
	s := &mboxSource{rule: o.rule}
	if l.standard() {
		s.r = mbox.NewReader(stdin, l.format)
	} else {
		if err := s.open(l.path); err != nil {
			return nil, err
		}
		s.r = mbox.NewReader(s.f, l.format)
	}
	s.r.SetRule(o.rule)
	return s, nil
}

type mboxSource struct {
	f      *os.File // nil for standard input
	before fs.FileInfo
	r      *mbox.Reader
	rule   mbox.Rule
}

func (s *mboxSource) open(path string) (err error) {
	if s.f, err = os.Open(path); err != nil {
		return status.Errorf(status.NoInput, "read mailbox: %w", err)
	}
	if s.before, err = s.f.Stat(); err == nil && s.before.IsDir() {
		err = status.Errorf(status.Data, "read mailbox: %q is a directory; maildir:%s perhaps", path, path)
	}
	if err != nil {
		s.f.Close()
	}
	return err
}

func (s *mboxSource) next() (*item, error) {
	m, err := s.r.Next()
	if err == io.EOF {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("read mailbox%s: %w", s.name(), err)
	}
	return &item{raw: m, rule: s.rule}, nil
}

func (s *mboxSource) name() string {
	if s.f == nil {
		return ""
	}
	return fmt.Sprintf(" %q", s.f.Name())
}

// check finds whether mail was delivered into the file while it was read.
func (s *mboxSource) check() error {
	if s.f == nil || !s.before.Mode().IsRegular() {
		return nil
	}
	after, err := s.f.Stat()
	if err != nil {
		return err
	}
	if after.Size() != s.before.Size() || !after.ModTime().Equal(s.before.ModTime()) {
		return status.Errorf(status.TempFail, "mailbox%s changed while it was read", s.name())
	}
	return nil
}

func (s *mboxSource) progress() (at, of int64) {
	if s.f == nil || !s.before.Mode().IsRegular() {
		return s.r.Offset(), -1
	}
	return s.r.Offset(), s.before.Size()
}

func (s *mboxSource) close() {
	if s.f != nil {
		s.f.Close()
	}
}

type maildirSource struct {
	dir     *maildir.Dir
	entries []maildir.Entry
	at      int
}

func openMaildir(path string) (source, error) {
	d, err := maildir.OpenPath(path)
	if err != nil {
		kind := status.Data
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			if _, err := os.Stat(path); err != nil {
				kind = status.NoInput
			}
		}
		return nil, status.Errorf(kind, "%w", err)
	}
	entries, err := d.Scan()
	if err != nil {
		d.Close()
		return nil, err
	}
	return &maildirSource{dir: d, entries: entries}, nil
}

// next opens the next message. One that is gone is an item without a file.
func (s *maildirSource) next() (*item, error) {
	if s.at == len(s.entries) {
		return nil, io.EOF
	}
	it := &item{entry: s.entries[s.at]}
	s.at++
	f, err := s.dir.OpenEntry(it.entry)
	if errors.Is(err, fs.ErrNotExist) {
		return it, nil
	}
	if err != nil {
		return nil, err
	}
	if it.info, err = f.Stat(); err != nil {
		f.Close()
		return nil, err
	}
	it.file = f
	return it, nil
}

func (s *maildirSource) check() error { return nil }

func (s *maildirSource) progress() (at, of int64) { return int64(s.at), int64(len(s.entries)) }

func (s *maildirSource) close() { s.dir.Close() }
