package maildir

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const appendFlags = os.O_WRONLY | os.O_APPEND

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// An Indexed is a message with its UID.
type Indexed struct {
	Entry
	UID uint32
}

// An Index is what Scan tells, with UIDs.
type Index struct {
	Validity uint32    // UIDVALIDITY
	Next     uint32    // UIDNEXT
	GUID     string    // the mailbox's own
	Messages []Indexed // ascending by UID
}

// Index scans the Maildir and gives a UID to every message that has none, in the order of Scan. The new
// UIDs are durable in dovecot-uidlist when it returns. A UID, once given, belongs to the same
// message for ever, and is not given again, whatever crashes: see RFC 3501 section 2.3.1.1.
//
// newValidity makes the UIDVALIDITY of a mailbox that has none (nil: the time). Nothing is written, and
// no lock is taken, when every message has its UID. ctx bounds the wait for the lock.
func (d *Dir) Index(ctx context.Context, newValidity func() (uint32, error)) (*Index, error) {
	list, err := d.readUIDList()
	if err != nil {
		return nil, fmt.Errorf("read the UIDs of %q: %w", d.Path(), err)
	}
	entries, err := d.Scan()
	if err != nil {
		return nil, err
	}
	if list.complete(entries) {
		return list.index(entries), nil
	}
	lock, err := d.lockUIDs(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	// Read both again: others may have given UIDs while we waited.
	if list, err = d.readUIDList(); err == nil {
		entries, err = d.Scan()
	}
	if err == nil {
		list, err = d.assign(list, entries, newValidity, lock)
	}
	if err != nil {
		return nil, fmt.Errorf("give UIDs in %q: %w", d.Path(), err)
	}
	return list.index(entries), nil
}

// complete tells whether the list can be used as it is.
func (l *UIDList) complete(entries []Entry) bool {
	if l == nil || l.Damaged || l.Validity == 0 || l.version != 3 {
		return false
	}
	for i := range entries {
		if l.byName[entries[i].Key] == 0 {
			return false
		}
	}
	return true
}

func (l *UIDList) index(entries []Entry) *Index {
	x := &Index{Validity: l.Validity, Next: l.Next, GUID: l.GUID, Messages: make([]Indexed, 0, len(entries))}
	for _, e := range entries {
		x.Messages = append(x.Messages, Indexed{e, l.byName[e.Key]})
	}
	slices.SortFunc(x.Messages, func(a, b Indexed) int { return cmp.Compare(a.UID, b.UID) })
	return x
}

// assign completes the list under the lock and writes what changed.
func (d *Dir) assign(l *UIDList, entries []Entry, newValidity func() (uint32, error), lock *uidLock) (*UIDList, error) {
	rewrite := false
	if l == nil {
		l = &UIDList{Next: 1, byName: make(map[string]uint32)}
	}
	if l.Validity == 0 {
		v, err := validity(newValidity)
		if err != nil {
			return nil, err
		}
		l.Validity, rewrite = v, true
	}
	if l.GUID == "" {
		l.GUID, rewrite = newGUID(), true
	}
	var added []UIDRecord
	for i := range entries {
		if l.byName[entries[i].Key] != 0 {
			continue
		}
		r, err := l.add(entries[i].Key)
		if err != nil {
			return nil, err
		}
		added = append(added, r)
	}
	switch {
	case rewrite || l.Damaged || l.version != 3:
		return l, d.writeUIDList(l, lock)
	case len(added) == 0:
		return l, nil
	case len(entries)*4 <= (l.lines+len(added))*3:
		l.prune(entries)
		return l, d.writeUIDList(l, lock)
	}
	return l, d.appendUIDs(added, lock)
}

// prune drops the records of messages that are gone.
func (l *UIDList) prune(entries []Entry) {
	live := make(map[string]bool, len(entries))
	for i := range entries {
		live[entries[i].Key] = true
	}
	l.Records = slices.DeleteFunc(l.Records, func(r UIDRecord) bool {
		if live[r.Name] {
			return false
		}
		delete(l.byName, r.Name)
		return true
	})
}

func validity(newValidity func() (uint32, error)) (uint32, error) {
	if newValidity == nil {
		return uint32(time.Now().Unix()), nil
	}
	return newValidity()
}

func newGUID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// uidValidityName is the file in the mailbox's root that keeps the last UIDVALIDITY given, as Dovecot does;
// an empty file with the value as its suffix makes taking the next one atomic.
const uidValidityName = "dovecot-uidvalidity"

// NewValidity takes a UIDVALIDITY that no folder of this Maildir++ has had, so that a folder deleted and
// made again, within one second too, is another one to every client. d is the root, not a folder.
func (d *Dir) NewValidity() (uint32, error) {
	const tries = 20
	var err error
	for range tries {
		var last uint32
		if last, err = d.lastValidity(); err != nil {
			break
		}
		next := uint32(time.Now().Unix())
		name := func(v uint32) string { return fmt.Sprintf("%s.%08x", uidValidityName, v) }
		if last == 0 {
			var f *os.File
			if f, err = d.ops.create(d.root, name(next)); err == nil {
				err = d.ops.close(f)
			}
		} else {
			next = last + 1
			err = d.ops.rename(d.root, name(last), name(next))
		}
		if err == nil {
			err = d.root.WriteFile(uidValidityName, fmt.Appendf(nil, "%08x", next), 0o600)
			return next, err
		}
		if !isNotExist(err) && !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return 0, fmt.Errorf("take a new UIDVALIDITY in %q: %w", d.Path(), err)
}

// lastValidity is the largest suffix there is, 0 when there is none.
func (d *Dir) lastValidity() (uint32, error) {
	dir, err := open(d.root, ".")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	var last uint32
	for _, n := range names {
		suffix, ok := strings.CutPrefix(n, uidValidityName+".")
		if v, err := strconv.ParseUint(suffix, 16, 32); ok && err == nil && len(suffix) == 8 {
			last = max(last, uint32(v))
		}
	}
	return last, nil
}
