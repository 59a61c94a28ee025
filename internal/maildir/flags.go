package maildir

import (
	"errors"
	"fmt"
	"io/fs"
)

// SetFlags gives the message the flags (letters out of D F P R S T a-z, in any order) in place of those
// letters in e.Flags, and returns it as it is now; a message in new moves to cur, where alone flags can
// be. Other letters and further fields of the info are kept. When another program changed the name since
// e was read, only the difference between e.Flags and flags is applied to what that program made of it.
// Call [Dir.Sync] to make a number of changes durable. fs.ErrNotExist when the message is gone.
func (d *Dir) SetFlags(e Entry, flags string) (Entry, error) {
	return d.change(e, e.Flags, flags)
}

// MoveNew moves a message from new to cur, with its flags if the name had any; one in cur stays.
func (d *Dir) MoveNew(e Entry) (Entry, error) {
	return d.change(e, "", "")
}

// change renames e to its place in cur with the flags that differ between base and want changed.
func (d *Dir) change(e Entry, base, want string) (Entry, error) {
	for i := range len(want) {
		// A letter that was there is not set, it is kept.
		if err := checkFlags(want[i : i+1]); err != nil && !contains(base, want[i]) {
			return Entry{}, fmt.Errorf("set flags of %q in %q: %w", e.Key, d.Path(), err)
		}
	}
	out := e
	err := d.again(e, func(now Entry) error {
		key, current, tail := splitName(now.Name)
		next := newEntry(subCur, joinName(key, mergeFlags(current, base, want), tail))
		if now.Sub == subCur && (now.Name == next.Name || now.Name == key && next.Flags == "") {
			out = now
			_, err := d.root.Lstat(now.path())
			return err
		}
		out = next
		return d.move(now, next)
	})
	if err != nil {
		return Entry{}, fmt.Errorf("set flags of %q in %q: %w", e.Key, d.Path(), err)
	}
	return out, nil
}

// move renames a message and overwrites nothing. fs.ErrNotExist when it is not where from says.
func (d *Dir) move(from, to Entry) error {
	taken := d.absent(to.path())
	if taken == nil {
		return d.ops.rename(d.root, from.path(), to.path())
	}
	// Most often somebody has done the very same, and the name is taken by the message itself.
	if _, err := d.root.Lstat(from.path()); err != nil {
		return err
	}
	return taken
}

func contains(flags string, c byte) bool {
	for i := range len(flags) {
		if flags[i] == c {
			return true
		}
	}
	return false
}

// Remove deletes the message; one that is gone already is no error.
func (d *Dir) Remove(e Entry) error {
	err := d.again(e, func(now Entry) error { return d.ops.remove(d.root, now.path()) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove message %q in %q: %w", e.Key, d.Path(), err)
	}
	return nil
}
