package maildir

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// An Entry is one message as its file name tells it.
type Entry struct {
	Key   string // the name without the info: stays the same for the life of the message
	Sub   string // "new" or "cur"
	Name  string // the whole file name
	Flags string // all letters of the info, sorted; those of others too
	Size  int64  // bytes of the file by ",S=", -1 when the name does not tell
	VSize int64  // bytes with CRLF line ends by ",W=", -1 when the name does not tell
}

func newEntry(sub, name string) Entry {
	key, flags, _ := splitName(name)
	return Entry{Key: key, Sub: sub, Name: name, Flags: flags, Size: nameSize(key, 'S'), VSize: nameSize(key, 'W')}
}

func (e Entry) path() string { return e.Sub + "/" + e.Name }

// Scan lists the messages in new and cur in the order of the times in their names. Names that start
// with '.', names of more than one line and everything that is not a regular file are left out. A
// directory that is missing counts as empty. When the directories change while they are read it reads
// them again, so that a message renamed meanwhile is neither missed nor told twice.
func (d *Dir) Scan() ([]Entry, error) {
	const tries = 4
	for i := 0; ; i++ {
		before := d.changed()
		list, err := d.scanOnce()
		if err != nil {
			return nil, fmt.Errorf("scan maildir %q: %w", d.Path(), err)
		}
		if i == tries-1 || before == d.changed() {
			return d.unique(list), nil
		}
	}
}

// changed is the state of new and cur as their modification times tell it.
func (d *Dir) changed() (state [2]time.Time) {
	for i, sub := range []string{subNew, subCur} {
		if info, err := d.root.Stat(sub); err == nil {
			state[i] = info.ModTime()
		}
	}
	return state
}

// scanOnce reads new before cur: a message on its way from one to the other is then seen at least once.
func (d *Dir) scanOnce() ([]Entry, error) {
	var list []Entry
	for _, sub := range []string{subNew, subCur} {
		err := d.each(sub, func(e Entry) bool {
			list = append(list, e)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// each calls f for the entries of one directory in no order until it returns false.
func (d *Dir) each(sub string, f func(Entry) bool) error {
	dir, err := open(d.root, sub)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return readDir(dir, func(name string, mode fs.FileMode) bool {
		return !visible(name) || !d.isRegular(sub+"/"+name, mode) || f(newEntry(sub, name))
	})
}

// isRegular asks the file itself where the directory does not tell its type.
func (d *Dir) isRegular(path string, mode fs.FileMode) bool {
	if mode&fs.ModeIrregular != 0 {
		info, err := d.root.Lstat(path)
		return err == nil && info.Mode().IsRegular()
	}
	return mode.IsRegular()
}

// unique sorts the entries and leaves one for each key.
func (d *Dir) unique(list []Entry) []Entry {
	type keyed struct {
		sec, usec int64
		e         Entry
	}
	all := make([]keyed, len(list))
	for i, e := range list {
		sec, usec := nameTime(e.Key)
		all[i] = keyed{sec, usec, e}
	}
	slices.SortFunc(all, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.sec, b.sec), cmp.Compare(a.usec, b.usec), cmp.Compare(a.e.Key, b.e.Key),
			cmp.Compare(a.e.Sub, b.e.Sub), cmp.Compare(a.e.Name, b.e.Name))
	})
	out := list[:0]
	for _, k := range all {
		if n := len(out); n > 0 && out[n-1].Key == k.e.Key {
			if e, ok := d.resolve(out[n-1], k.e); ok {
				out = append(out, e)
			} else {
				out[n-1] = e
			}
			continue
		}
		out = append(out, k.e)
	}
	return out
}

// resolve decides what two entries a and b with one key mean. Two files: b gets a new name and both
// count (ok). One file under two names, or a rename seen from both sides: the one that is there counts.
func (d *Dir) resolve(a, b Entry) (e Entry, ok bool) {
	ia, erra := d.root.Lstat(a.path())
	ib, errb := d.root.Lstat(b.path())
	switch {
	case errb != nil:
		return a, false
	case erra != nil:
		return b, false
	case os.SameFile(ia, ib):
		return a, false
	}
	_, flags, tail := splitName(b.Name)
	name := uniqueName()
	if b.Sub == subCur {
		name = joinName(name, flags, tail)
	}
	if err := d.ops.rename(d.root, b.path(), b.Sub+"/"+name); err != nil {
		// A mailbox that may only be read: the second file stays out of sight rather than sharing a key.
		return a, false
	}
	return newEntry(b.Sub, name), true
}

// find looks for the message again, wherever and with whatever flags it is now. fs.ErrNotExist when
// two searches do not find it: one may miss a file that is renamed at that moment.
func (d *Dir) find(key string) (Entry, error) {
	for range 2 {
		var found Entry
		for _, sub := range []string{subNew, subCur} {
			err := d.each(sub, func(e Entry) bool {
				if e.Key == key {
					found = e
				}
				return e.Key != key
			})
			if err != nil {
				return Entry{}, err
			}
			if found.Key != "" {
				return found, nil
			}
		}
	}
	return Entry{}, fs.ErrNotExist
}

// again does op on e, and when e is gone finds it under its present name and does op on that.
func (d *Dir) again(e Entry, op func(Entry) error) error {
	const tries = 3
	err := op(e)
	for i := 0; i < tries && errors.Is(err, fs.ErrNotExist); i++ {
		now, ferr := d.find(e.Key)
		if ferr != nil {
			return ferr
		}
		err = op(now)
	}
	return err
}

// OpenEntry opens the message for reading, also when it was renamed since Scan. When it is gone the
// error is [fs.ErrNotExist]. The caller closes the file.
func (d *Dir) OpenEntry(e Entry) (*os.File, error) {
	var f *os.File
	err := d.again(e, func(now Entry) (err error) {
		f, err = open(d.root, now.path())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open message %q in %q: %w", e.Key, d.Path(), err)
	}
	return f, nil
}

// Stat tells size and modification time (the internal date) of the message's file.
func (d *Dir) Stat(e Entry) (fs.FileInfo, error) {
	var info fs.FileInfo
	err := d.again(e, func(now Entry) (err error) {
		info, err = d.root.Lstat(now.path())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stat message %q in %q: %w", e.Key, d.Path(), err)
	}
	return info, nil
}

// VSize is the size of the message with CRLF line ends: what the name says, else counted by reading.
func (d *Dir) VSize(e Entry) (int64, error) {
	if e.VSize >= 0 {
		return e.VSize, nil
	}
	f, err := d.OpenEntry(e)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var size int64
	buf := make([]byte, 64<<10)
	cr := false
	for {
		n, err := f.Read(buf)
		if n > 0 {
			size += int64(n) + bareLF(buf[:n], cr)
			cr = buf[n-1] == '\r'
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read message %q in %q: %w", e.Key, d.Path(), err)
		}
	}
}
