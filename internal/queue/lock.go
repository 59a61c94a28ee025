package queue

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// rewriteAt is how long the records may become before they are written anew as one for each recipient, in bytes per
// recipient beyond the first.
const rewriteAt = 64 << 10

// A Locked is an entry that this process alone works on. Unlock it.
type Locked struct {
	Entry
	q    *Queue
	f    *os.File
	size int64 // of the envelope file
	torn bool  // the file ends within a record
}

// Lock takes an entry for this process. ErrBusy when another has it; fs.ErrNotExist when it is gone.
func (q *Queue) Lock(id ID) (*Locked, error) {
	for {
		f, err := q.root.OpenFile(id.envelope(), os.O_RDWR|os.O_APPEND, 0)
		if err != nil {
			return nil, failed("lock", id, err)
		}
		ok, err := lockFile(f)
		switch {
		case err != nil:
			f.Close()
			return nil, failed("lock", id, err)
		case !ok:
			f.Close()
			return nil, failed("lock", id, ErrBusy)
		}
		if !q.still(id, f) { // it was written anew, or removed, before we had the lock
			f.Close()
			continue
		}
		l := &Locked{q: q, f: f}
		if err := l.load(id); err != nil {
			err = q.unreadable(id, err)
			f.Close()
			return nil, err
		}
		return l, nil
	}
}

// still tells whether the entry's name still means the file that is locked.
func (q *Queue) still(id ID, f *os.File) bool {
	now, err := q.root.Lstat(id.envelope())
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	ours, err := f.Stat()
	return err == nil && os.SameFile(now, ours)
}

// load reads the file that is locked.
func (l *Locked) load(id ID) error {
	mail, err := openMail(l.q.root)
	if err != nil {
		return err
	}
	defer mail.close()
	dir, err := mail.folder(id.hash())
	if err != nil {
		return err
	}
	defer dir.close()
	text, err := io.ReadAll(io.NewSectionReader(l.f, 0, maxEnvelope+1))
	if err != nil {
		return err
	}
	e, err := load(dir, id, text, true)
	if err != nil {
		return err
	}
	l.Entry, l.size, l.torn = *e, int64(len(text)), text[len(text)-1] != '\n'
	return nil
}

// unreadable moves a damaged entry to corrupt and says so in the log. It is an error for whoever wanted it.
func (q *Queue) unreadable(id ID, err error) error {
	if !errors.Is(err, errDamaged) {
		return failed("read", id, err)
	}
	for _, name := range []string{id.envelope(), id.message()} {
		at := name[len(id.bucket())+1:]
		if merr := q.ops.rename(q.root, name, dirCorrupt+"/"+at); merr != nil && !errors.Is(merr, fs.ErrNotExist) {
			q.o.Log.Error("cannot set a damaged entry aside", "id", id, "err", merr)
		}
	}
	q.o.Log.Error("entry is damaged, set aside in corrupt", "id", id, "err", err)
	return status.Errorf(status.IO, "queue: %s: %v", id, err) // the cause is not wrapped: what is wrong is never the mail
}

// Message opens the message. The caller closes it.
func (l *Locked) Message() (*message.Message, error) { return l.q.Message(l.ID) }

// Message opens the message of an entry. The caller closes it.
func (q *Queue) Message(id ID) (*message.Message, error) {
	f, err := q.root.Open(id.message())
	if err == nil {
		var m *message.Message
		if m, err = message.FromFile(f, 0); err == nil {
			return m, nil
		}
		f.Close()
	}
	return nil, failed("open the message of", id, err)
}

// Record changes recipients, by their numbers, and returns when that is on disk.
func (l *Locked) Record(changed map[int]Recipient) error {
	var b strings.Builder
	after := l.Entry
	after.Recipients = append([]Recipient(nil), l.Recipients...)
	for n, r := range changed {
		r.Reply, r.Host = clip(r.Reply), clip(r.Host)
		after.Recipients[n] = r
	}
	for n := range after.Recipients {
		if _, ok := changed[n]; ok {
			b.WriteString(record(n, after.Recipients[n]))
		}
	}
	return l.write(b.String(), after)
}

// clip bounds what a server can have us write.
func clip(s string) string {
	const most = 2048
	return s[:min(len(s), most)]
}

// Hold keeps the entry from being sent until it is let go.
func (l *Locked) Hold(on bool) error {
	after, line := l.Entry, "release\n"
	after.Held = on
	if on {
		line = "hold\n"
	}
	return l.write(line, after)
}

// write appends records, or writes the file anew when it has become long.
func (l *Locked) write(records string, after Entry) error {
	if l.size+int64(len(records)) > rewriteAt*int64(1+len(l.Recipients)/100) {
		if err := l.rewrite(after); err != nil {
			return failed("record", l.ID, err)
		}
		l.Entry = after
		l.hint()
		return nil
	}
	if l.torn {
		if err := l.cut(); err != nil {
			return failed("record", l.ID, err)
		}
	}
	n, err := l.q.ops.write(l.f, []byte(records))
	if err == nil {
		err = l.q.ops.sync(l.f)
	}
	if err != nil {
		l.torn = l.torn || n > 0
		return failed("record", l.ID, err)
	}
	l.size += int64(n)
	l.Entry = after
	l.hint()
	return nil
}

// cut takes away a record that was not finished.
func (l *Locked) cut() error {
	text, err := io.ReadAll(io.NewSectionReader(l.f, 0, maxEnvelope))
	if err != nil {
		return err
	}
	whole := int64(strings.LastIndexByte(string(text), '\n') + 1)
	if err := l.q.ops.cut(l.f, whole); err != nil {
		return err
	}
	l.size, l.torn = whole, false
	return nil
}

// rewrite replaces the file by one with a record for each recipient. The lock is taken on the new one before it has the
// name.
func (l *Locked) rewrite(after Entry) error {
	text, err := header(after.Envelope, after.Arrived, after.Arrived, after.Size)
	if err != nil {
		return err
	}
	for n, r := range after.Recipients {
		text += record(n, r)
	}
	if after.Held {
		text += "hold\n"
	}
	name := dirTmp + "/" + string(l.ID) + extEnvelope
	l.q.ops.remove(l.q.root, name) // of one who was stopped here
	if err := l.q.stage(string(l.ID)+extEnvelope, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}); err != nil {
		return err
	}
	f, err := l.q.root.OpenFile(name, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	ok, err := lockFile(f)
	if err == nil && !ok {
		err = ErrBusy
	}
	if err == nil {
		err = l.q.ops.rename(l.q.root, name, l.ID.envelope())
	}
	if err != nil {
		f.Close()
		return err
	}
	l.f.Close()
	l.f, l.size, l.torn = f, int64(len(text)), false
	return l.q.ops.syncDir(l.q.root, l.ID.bucket())
}

// hint sets the time of the file to when the entry is due; see Due. That it fails does no harm.
func (l *Locked) hint() {
	due, ok := l.Due()
	switch {
	case l.Done():
		due = time.Now() // it is to be removed
	case !ok:
		due = time.Now().Add(never)
	}
	l.q.ops.chtimes(l.q.root, l.ID.envelope(), due)
}

// Remove takes the entry out of the queue: the envelope first, for without it the message does not count.
func (l *Locked) Remove() error {
	err := l.q.ops.remove(l.q.root, l.ID.envelope())
	if err == nil {
		err = l.q.ops.syncDir(l.q.root, l.ID.bucket())
	}
	if err != nil {
		return failed("remove", l.ID, err)
	}
	l.q.ops.remove(l.q.root, l.ID.message())
	return nil
}

// Unlock lets others have the entry.
func (l *Locked) Unlock() { l.f.Close() }

// IsGone tells whether err says that there is no such entry any more.
func IsGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// IsBusy tells whether err says that another process works on the entry.
func IsBusy(err error) bool { return errors.Is(err, ErrBusy) }
