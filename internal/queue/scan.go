package queue

import (
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// never is how far ahead the hint of an entry is that is not due at all.
const never = 365 * 24 * time.Hour

// A Stub is an entry as its name and time tell, without reading it. Due is a hint, never too late by more than a crash
// allows: a file whose time was not set has the time of its last record, and is looked at too early.
type Stub struct {
	ID  ID
	Due time.Time
}

// Stubs are all entries in no order. A directory that cannot be read ends the list with its error.
func (q *Queue) Stubs() iter.Seq2[Stub, error] {
	return func(yield func(Stub, error) bool) {
		for e, err := range q.entries() {
			if err != nil {
				yield(Stub{}, err)
				return
			}
			info, err := e.dir.Lstat(string(e.id) + extEnvelope)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(Stub{}, failed("look at", e.id, err))
				return
			}
			if !yield(Stub{e.id, info.ModTime()}, nil) {
				return
			}
		}
	}
}

// entryIn is an entry and its open directory.
type entryIn struct {
	dir *os.Root
	id  ID
}

// entries are those that have an envelope file, in no order.
func (q *Queue) entries() iter.Seq2[entryIn, error] {
	return func(yield func(entryIn, error) bool) {
		for dir, err := range q.buckets() {
			if err != nil {
				yield(entryIn{}, err)
				return
			}
			for name, err := range names(dir, ".") {
				if err != nil {
					yield(entryIn{}, err)
					return
				}
				id, ok := entryName(name)
				if ok && strings.HasSuffix(string(id), filepath.Base(dir.Name())) && !yield(entryIn{dir, id}, nil) {
					return
				}
			}
		}
	}
}

// Arrivals is the directory out of which an entry is renamed when it comes into the queue; Arrived tells whether a file in
// it is one that does. Who waits for mail watches it.
func (q *Queue) Arrivals() string { return filepath.Join(q.root.Name(), dirTmp) }

// Arrived tells whether the path is of an entry that comes in.
func Arrived(path string) bool { return strings.HasSuffix(path, extEnvelope) }

// Due lists the entries that seem to be due at now, oldest first, and when the next one will be.
func (q *Queue) Due(now time.Time) (due []ID, next time.Time, err error) {
	for s, err := range q.Stubs() {
		if err != nil {
			return nil, next, err
		}
		switch {
		case !s.Due.After(now):
			due = append(due, s.ID)
		case next.IsZero() || s.Due.Before(next):
			next = s.Due
		}
	}
	slices.Sort(due)
	return due, next, nil
}

// IDs are the entries, oldest first.
func (q *Queue) IDs() ([]ID, error) {
	var all []ID
	for e, err := range q.entries() {
		if err != nil {
			return nil, err
		}
		all = append(all, e.id)
	}
	slices.Sort(all)
	return all, nil
}

// entryName is the entry of an envelope file.
func entryName(file string) (ID, bool) {
	name, ok := strings.CutSuffix(file, extEnvelope)
	if !ok {
		return "", false
	}
	id, err := ParseID(name)
	return id, err == nil
}

// buckets opens the directories of entries that there are, one after the other.
func (q *Queue) buckets() iter.Seq2[*os.Root, error] {
	return func(yield func(*os.Root, error) bool) {
		for name, err := range names(q.root, dirMail) {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(name) != 2 || !q.visit(dirMail+"/"+name, yield) {
				continue
			}
			return
		}
	}
}

// visit opens a directory for yield, and tells whether that wants no more. What is gone or no directory is passed over.
func (q *Queue) visit(name string, yield func(*os.Root, error) bool) (enough bool) {
	dir, err := q.root.OpenRoot(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return false
	case err != nil:
		yield(nil, err)
		return true
	}
	defer dir.Close()
	return !yield(dir, nil)
}

// names reads the names in a directory in parts: with their types it would cost a call for each. One that is not there is
// empty.
func names(root *os.Root, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		d, err := root.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield("", err)
			return
		}
		defer d.Close()
		for {
			batch, err := d.Readdirnames(512)
			for _, name := range batch {
				if !yield(name, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield("", err)
				return
			}
		}
	}
}

// count counts the entries in the directory of one, or in all.
func (q *Queue) count(bucket string) (n int, err error) {
	if bucket == "" {
		for _, err := range q.entries() {
			if err != nil {
				return 0, err
			}
			n++
		}
		return n, nil
	}
	for name, err := range names(q.root, bucket) {
		if err != nil {
			return 0, err
		}
		if _, ok := entryName(name); ok {
			n++
		}
	}
	return n, nil
}

// Clean removes what was staged, put half or removed half more than 36 hours before now, and returns how many files.
func (q *Queue) Clean(now time.Time) (n int, err error) {
	old := func(path string) bool {
		info, err := q.root.Lstat(path)
		return err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > halfAge
	}
	for name, err := range names(q.root, dirTmp) {
		if err != nil {
			return n, err
		}
		if path := dirTmp + "/" + name; old(path) && q.ops.remove(q.root, path) == nil {
			n++
		}
	}
	for dir, err := range q.buckets() {
		if err != nil {
			return n, err
		}
		for name, err := range names(dir, ".") {
			if err != nil {
				return n, err
			}
			stem, ok := strings.CutSuffix(name, extMessage)
			path := dirMail + "/" + filepath.Base(dir.Name()) + "/"
			if !ok || !old(path+name) {
				continue
			}
			if _, err := dir.Lstat(stem + extEnvelope); errors.Is(err, fs.ErrNotExist) && q.ops.remove(q.root, path+name) == nil {
				n++
			}
		}
	}
	return n, nil
}
