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
		for bucket, err := range q.buckets() {
			if err != nil {
				yield(Stub{}, err)
				return
			}
			for de, err := range list(q.root, dirMail+"/"+bucket) {
				if err != nil {
					yield(Stub{}, err)
					return
				}
				id, ok := entryName(de.Name())
				if !ok || !strings.HasSuffix(string(id), bucket) {
					continue
				}
				info, err := de.Info()
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err != nil {
					yield(Stub{}, failed("look at", id, err))
					return
				}
				if !yield(Stub{id, info.ModTime()}, nil) {
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
	for s, err := range q.Stubs() {
		if err != nil {
			return nil, err
		}
		all = append(all, s.ID)
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

// buckets are the directories of entries that there are.
func (q *Queue) buckets() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for de, err := range list(q.root, dirMail) {
			if err == nil && (len(de.Name()) != 2 || !de.IsDir()) {
				continue
			}
			name := ""
			if err == nil {
				name = de.Name()
			}
			if !yield(name, err) || err != nil {
				return
			}
		}
	}
}

// list reads a directory in parts. One that is not there is empty.
func list(root *os.Root, name string) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		d, err := root.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer d.Close()
		for {
			batch, err := d.ReadDir(512)
			for _, de := range batch {
				if !yield(de, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// count counts the entries in some directories, or in all.
func (q *Queue) count(where []string) (n int, err error) {
	if where == nil {
		for bucket, err := range q.buckets() {
			if err != nil {
				return 0, err
			}
			where = append(where, dirMail+"/"+bucket)
		}
	}
	for _, dir := range where {
		for de, err := range list(q.root, dir) {
			if err != nil {
				return 0, err
			}
			if _, ok := entryName(de.Name()); ok {
				n++
			}
		}
	}
	return n, nil
}

// Clean removes what was staged, put half or removed half more than 36 hours before now, and returns how many files.
func (q *Queue) Clean(now time.Time) (n int, err error) {
	old := func(de fs.DirEntry) bool {
		info, err := de.Info()
		return err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > halfAge
	}
	for de, err := range list(q.root, dirTmp) {
		if err != nil {
			return n, err
		}
		if old(de) && q.ops.remove(q.root, dirTmp+"/"+de.Name()) == nil {
			n++
		}
	}
	for bucket, err := range q.buckets() {
		if err != nil {
			return n, err
		}
		dir := dirMail + "/" + bucket
		for de, err := range list(q.root, dir) {
			if err != nil {
				return n, err
			}
			name, ok := strings.CutSuffix(de.Name(), extMessage)
			if !ok || !old(de) {
				continue
			}
			if _, err := q.root.Lstat(dir + "/" + name + extEnvelope); errors.Is(err, fs.ErrNotExist) &&
				q.ops.remove(q.root, dir+"/"+de.Name()) == nil {
				n++
			}
		}
	}
	return n, nil
}
