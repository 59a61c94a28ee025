package queue

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// never is how far ahead the hint of an entry is that is not due at all.
const never = 365 * 24 * time.Hour

// each has visit look at the names in each directory of entries, several at a time. The first error is returned.
func (q *Queue) each(visit func(d *folder, names []string) error) error {
	mail, err := openMail(q.root)
	if err != nil {
		return err
	}
	defer mail.close()
	buckets, err := mail.names()
	if err != nil {
		return err
	}
	buckets = slices.DeleteFunc(buckets, func(name string) bool { return len(name) != 2 })
	var first atomic.Pointer[error]
	parallel(buckets, func(name string, buf []byte) {
		if first.Load() != nil {
			return
		}
		if err := visitFolder(mail, name, buf, visit); err != nil {
			first.CompareAndSwap(nil, &err)
		}
	})
	if e := first.Load(); e != nil {
		return *e
	}
	return nil
}

// visitFolder opens a directory for visit. What is gone or no directory is passed over.
func visitFolder(mail *mailDir, name string, buf []byte, visit func(d *folder, names []string) error) error {
	d, err := mail.folder(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.names(buf)
	if err != nil {
		return err
	}
	return visit(d, names)
}

// Arrivals is the directory out of which an entry is renamed when it comes into the queue; Arrived is the entry if the path is
// of a file in it that makes one. Who waits for mail watches it.
func (q *Queue) Arrivals() string { return filepath.Join(q.root.Name(), dirTmp) }

// Arrived is the other half of Arrivals.
func Arrived(path string) (ID, bool) { return entryName(filepath.Base(path)) }

// Due lists the entries that seem to be due at now, oldest first, and when the next one will be. That is by the times of
// their files, which are never too late by more than a crash allows: a file whose time was not set has that of its last
// record, and is looked at too early.
func (q *Queue) Due(now time.Time) (due []ID, next time.Time, err error) {
	var mu sync.Mutex
	err = q.each(func(d *folder, names []string) error {
		for _, id := range entriesOf(d, names) {
			_, at, err := d.stat(string(id) + extEnvelope)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return failed("look at", id, err)
			}
			mu.Lock()
			switch {
			case !at.After(now):
				due = append(due, id)
			case next.IsZero() || at.Before(next):
				next = at
			}
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	slices.Sort(due)
	return due, next, nil
}

// IDs are the entries, oldest first. An envelope without its message is looked at, and set aside.
func (q *Queue) IDs() (all []ID, err error) {
	var mu sync.Mutex
	err = q.each(func(d *folder, names []string) error {
		found := entriesOf(d, names)
		for _, name := range alone(names, extEnvelope, extMessage) {
			id, ok := entryName(name)
			if _, err := q.Read(id); ok && err != nil {
				found = slices.DeleteFunc(found, func(f ID) bool { return f == id })
			}
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, found...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	return all, nil
}

// entriesOf are the entries whose envelope files are among the names in their directory.
func entriesOf(d *folder, names []string) []ID {
	all := make([]ID, 0, len(names)/2)
	for _, name := range names {
		if id, ok := entryName(name); ok && id.hash() == d.name {
			all = append(all, id)
		}
	}
	return all
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

// isEntry tells whether a file is an envelope or a message.
func isEntry(name []byte) bool {
	return bytes.HasSuffix(name, []byte(extEnvelope)) || bytes.HasSuffix(name, []byte(extMessage))
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
		all, err := q.IDs()
		return len(all), err
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
func (q *Queue) Clean(now time.Time) (int, error) {
	n := 0
	for name, err := range names(q.root, dirTmp) {
		if err != nil {
			return n, err
		}
		path := dirTmp + "/" + name
		info, err := q.root.Lstat(path)
		if err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > halfAge && q.ops.remove(q.root, path) == nil {
			n++
		}
	}
	var removed atomic.Int64
	err := q.each(func(d *folder, names []string) error {
		for _, name := range alone(names, extMessage, extEnvelope) {
			_, at, err := d.stat(name)
			if err != nil || now.Sub(at) <= halfAge {
				continue
			}
			stem, _ := strings.CutSuffix(name, extMessage)
			_, _, err = d.stat(stem + extEnvelope)
			if errors.Is(err, fs.ErrNotExist) && q.ops.remove(q.root, dirMail+"/"+d.name+"/"+name) == nil {
				removed.Add(1)
			}
		}
		return nil
	})
	return n + int(removed.Load()), err
}

// alone are the names with ext that have no other beside them.
func alone(names []string, ext, other string) (found []string) {
	known := make(map[string]bool, len(names)/2)
	for _, name := range names {
		if stem, ok := strings.CutSuffix(name, other); ok {
			known[stem] = true
		}
	}
	for _, name := range names {
		if stem, ok := strings.CutSuffix(name, ext); ok && !known[stem] {
			found = append(found, name)
		}
	}
	return found
}
