// Package maildir keeps messages as files in a Maildir, and is the authority on what is in it.
//
// It hides how a name is made, where flags stand, how a message appears only when it is complete,
// and that other programs rename and remove files while we look. Its guarantees:
//
//   - A message is in new/ or cur/ only when all of its bytes are on disk (fsync of the file, then of
//     the directory). What is half written stays in tmp/ and is removed by [Dir.Clean] after 36 hours.
//   - No operation overwrites or shortens a file that is a message.
//   - Every access goes through [os.Root]: no name and no symbolic link leads out of the directory.
//   - Flag letters and info fields that it does not know survive every change of the others.
//
// Formats: https://cr.yp.to/proto/maildir.html, maildir(5); folders by Maildir++; the sizes ",S=" and
// ",W=" in names as Dovecot and Courier write them. Bytes are kept as they come; the programs of this
// module store LF line ends.
package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The three directories of a Maildir.
const (
	subTmp = "tmp"
	subNew = "new"
	subCur = "cur"
)

// A Dir is an open Maildir: the directory that holds tmp, new and cur. Its methods may be used by
// several goroutines and several processes at a time.
type Dir struct {
	root *os.Root
	ops  *ops
	path string // for messages to people
}

// Open uses root, which becomes the Dir's and is closed with it, as a Maildir. Nothing is read or made.
func Open(root *os.Root) *Dir {
	return &Dir{root: root, ops: &realOps, path: root.Name()}
}

// OpenPath opens the existing Maildir at path. A directory with neither cur nor new in it is refused
// with an error that is [fs.ErrNotExist].
func OpenPath(path string) (*Dir, error) {
	root, err := os.OpenRoot(asDir(path))
	if err != nil {
		return nil, fmt.Errorf("open maildir %q: %w", path, err)
	}
	if !isDir(root, subCur) && !isDir(root, subNew) {
		root.Close()
		return nil, fmt.Errorf("open maildir %q: no cur and no new in it: %w", path, fs.ErrNotExist)
	}
	return Open(root).Named(path), nil
}

// Create makes the Maildir name below parent, mode 0700, or completes one that lacks a directory,
// and opens it. It is safe against another process that does the same.
func Create(parent *os.Root, name string) (*Dir, error) {
	made := false
	root, err := openDir(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		if made, err = mkdir(parent, name); err == nil {
			root, err = openDir(parent, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create maildir %q: %w", name, err)
	}
	d := Open(root).Named(filepath.Join(parent.Name(), name))
	if err := d.ensure(); err != nil {
		d.Close()
		return nil, fmt.Errorf("create maildir %q: %w", name, err)
	}
	if made {
		if err := syncDir(parent, "."); err != nil {
			d.Close()
			return nil, fmt.Errorf("create maildir %q: %w", name, err)
		}
	}
	return d, nil
}

// CreatePath is [Create] for a path; the parent directory must exist.
func CreatePath(path string) (*Dir, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create maildir %q: %w", path, err)
	}
	root, err := os.OpenRoot(asDir(path))
	if err != nil {
		return nil, fmt.Errorf("create maildir %q: %w", path, err)
	}
	d := Open(root).Named(path)
	if err := d.ensure(); err != nil {
		d.Close()
		return nil, fmt.Errorf("create maildir %q: %w", path, err)
	}
	return d, nil
}

// Close gives back the directory. Staged messages that were neither committed nor aborted stay in tmp.
func (d *Dir) Close() error { return d.root.Close() }

// Root is the directory itself, for files that other packages keep beside cur. It stays the Dir's.
func (d *Dir) Root() *os.Root { return d.root }

// Path is the directory's path as far as it is known, for messages to people.
func (d *Dir) Path() string { return d.path }

// Named changes what Path says, where a caller knows better, and returns d.
func (d *Dir) Named(path string) *Dir {
	d.path = path
	return d
}

// Sync makes changes of names (flags, removals, moves) durable: it fsyncs new and cur.
func (d *Dir) Sync() error {
	for _, sub := range []string{subNew, subCur} {
		if err := d.ops.syncDir(d.root, sub); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync %s in %q: %w", sub, d.Path(), err)
		}
	}
	return nil
}

// openDir opens a directory below parent.
func openDir(parent *os.Root, name string) (*os.Root, error) { return parent.OpenRoot(asDir(name)) }

// asDir is a path that only a directory has: opening it does not wait where a FIFO stands.
func asDir(path string) string { return path + "/." }

// ensure completes a Maildir that lacks new or cur. Whether tmp is there shows when a file is made in it.
func (d *Dir) ensure() error {
	if isDir(d.root, subNew) && isDir(d.root, subCur) {
		return nil
	}
	return d.complete()
}

// complete makes the directories that are missing; cur comes last, since a folder counts as one once
// it has cur.
func (d *Dir) complete() error {
	changed := false
	for _, sub := range []string{subTmp, subNew, subCur} {
		made, err := mkdir(d.root, sub)
		if err != nil {
			return err
		}
		changed = changed || made
	}
	if !changed {
		return nil
	}
	return syncDir(d.root, ".")
}

// mkdir makes name below root with mode 0700; made is false when it was there.
func mkdir(root *os.Root, name string) (made bool, err error) {
	err = root.Mkdir(name, 0o700)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	}
	return false, err
}

func isDir(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.IsDir()
}
