// Package mh puts messages into MH folders (mh-mail(5)): a directory in which each message is a file whose name is a number.
//
// It guarantees that a message has a number only when all of its bytes are on disk, and that no number is given twice: the file
// is written under another name and linked to the first free number above all others, which fails where another program was
// faster. Sequences are the business of the programs that read the folder.
package mh

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// maxTries bounds how often a number was taken by others in the moment before.
const maxTries = 1000

// A Folder is an open directory.
type Folder struct {
	root *os.Root
	path string // for people
	ops  *ops
}

// ops are the calls that change the disk. Tests put others in their place to let each fail in turn.
type ops struct {
	create  func(root *os.Root, name string) (*os.File, error)
	write   func(f *os.File, b []byte) (int, error)
	sync    func(f *os.File) error
	link    func(root *os.Root, old, new string) error
	remove  func(root *os.Root, name string) error
	syncDir func(root *os.Root) error
}

var realOps = ops{
	create: func(root *os.Root, name string) (*os.File, error) {
		return root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	},
	write:   (*os.File).Write,
	sync:    (*os.File).Sync,
	link:    (*os.Root).Link,
	remove:  (*os.Root).Remove,
	syncDir: syncDir,
}

func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Create opens the folder name below parent and makes it, mode 0700, when it is missing.
func Create(parent *os.Root, name string) (*Folder, error) {
	at := filepath.Join(parent.Name(), name)
	if err := parent.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create MH folder %q: %w", at, err)
	}
	root, err := parent.OpenRoot(name + "/.") // which does not wait for a FIFO
	if err != nil {
		return nil, fmt.Errorf("open MH folder %q: %w", at, err)
	}
	return &Folder{root: root, path: at, ops: &realOps}, nil
}

// Close gives the directory back.
func (f *Folder) Close() error { return f.root.Close() }

// A Staged is a message that is complete and durable, and not yet visible. Commit or Abort ends it.
type Staged struct {
	f      *Folder
	tmp    string // "" when it is no longer there
	number string // "" when it is not visible
}

var stagedCount atomic.Int64

// Stage copies all of r into the folder under a name that is no message's, and syncs it.
func (f *Folder) Stage(r io.Reader) (*Staged, error) {
	name := fmt.Sprintf(".new.%d.%d.%d", time.Now().UnixNano(), os.Getpid(), stagedCount.Add(1))
	file, err := f.ops.create(f.root, name)
	if err != nil {
		return nil, fmt.Errorf("stage a message in %q: %w", f.path, err)
	}
	s := &Staged{f: f, tmp: name}
	_, err = io.Copy(opsWriter{f.ops, file}, r)
	if err == nil {
		err = f.ops.sync(file)
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stage a message in %q: %w", f.path, err), s.Abort())
	}
	return s, nil
}

// opsWriter writes through ops.
type opsWriter struct {
	o *ops
	f *os.File
}

func (w opsWriter) Write(b []byte) (int, error) { return w.o.write(w.f, b) }

// Commit makes the message visible and durable under the next number, or returns an error and leaves nothing of it.
func (s *Staged) Commit() error {
	number, err := s.f.last()
	if err != nil {
		return s.failed(err)
	}
	for range maxTries {
		if number++; number > math.MaxInt32 {
			return s.failed(fmt.Errorf("%d is no number for a message", number))
		}
		name := strconv.FormatInt(number, 10)
		err = s.f.ops.link(s.f.root, s.tmp, name)
		if err == nil || s.is(name) {
			s.number, err = name, nil
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err == nil {
		err = s.f.ops.syncDir(s.f.root)
	}
	if err != nil {
		return s.failed(err)
	}
	if s.f.ops.remove(s.f.root, s.tmp) == nil { // a second name that is left does no harm
		s.tmp = ""
	}
	return nil
}

// is tells whether the name is our file's although the call failed: a network file system repeats a call of which the answer
// got lost, and then tells of the second.
func (s *Staged) is(name string) bool {
	ours, err := s.f.root.Lstat(s.tmp)
	if err != nil {
		return false
	}
	theirs, err := s.f.root.Lstat(name)
	return err == nil && os.SameFile(ours, theirs)
}

func (s *Staged) failed(err error) error {
	return errors.Join(fmt.Errorf("commit a message in %q: %w", s.f.path, err), s.Abort())
}

// Path is where the message is, after Commit.
func (s *Staged) Path() string { return filepath.Join(s.f.path, s.number) }

// Abort removes the message, also after Commit.
func (s *Staged) Abort() error {
	var errs []error
	for _, name := range []*string{&s.number, &s.tmp} {
		if *name == "" {
			continue
		}
		if err := s.f.ops.remove(s.f.root, *name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove %q in %q: %w", *name, s.f.path, err))
			continue
		}
		*name = ""
	}
	return errors.Join(errs...)
}

// last is the highest number in the folder, 0 when there is none.
func (f *Folder) last() (int64, error) {
	d, err := f.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer d.Close()
	highest := int64(0)
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if n, ok := Number(name); ok {
				highest = max(highest, n)
			}
		}
		if err == io.EOF {
			return highest, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Number reads a message's name: decimal digits that do not begin with 0.
func Number(name string) (n int64, ok bool) {
	n, err := strconv.ParseInt(name, 10, 32)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == name
}
