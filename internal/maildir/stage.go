package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// StageOptions say how a message is to appear.
type StageOptions struct {
	Flags string    // letters out of D F P R S T a-z; a message with flags goes to cur
	Cur   bool      // to cur also without flags
	Time  time.Time // modification time of the file (IMAP's internal date); zero is now
}

// A Staged is a message that is complete and durable in tmp, and not yet visible. Commit or Abort
// ends it; it is not for several goroutines at a time.
type Staged struct {
	dir   *Dir
	tmp   string // path below the root, "" when the file is no longer there
	dest  string // path below the root
	key   string
	sub   string
	size  int64
	vsize int64
	file  os.FileInfo // what was written, to know it again
}

// Stage copies all of r into a new file in tmp, counting its size and its size with CRLF line ends for
// the name, and fsyncs it. When reading or writing fails the file is removed and the error, which wraps
// the cause, is returned. The caller keeps r.
func (d *Dir) Stage(r io.Reader, o StageOptions) (*Staged, error) {
	if err := checkFlags(o.Flags); err != nil {
		return nil, fmt.Errorf("stage a message in %q: %w", d.Path(), err)
	}
	f, base, err := d.createTmp()
	if err != nil {
		return nil, fmt.Errorf("stage a message in %q: %w", d.Path(), err)
	}
	s := &Staged{dir: d, tmp: subTmp + "/" + base, sub: subNew}
	if err := s.fill(f, r, o.Time); err != nil {
		s.Abort()
		return nil, fmt.Errorf("stage a message in %q: %w", d.Path(), err)
	}
	s.key = fmt.Sprintf("%s,S=%d,W=%d", base, s.size, s.vsize)
	name := s.key
	if o.Cur || o.Flags != "" {
		s.sub, name = subCur, joinName(s.key, o.Flags, "")
	}
	s.dest = s.sub + "/" + name
	return s, nil
}

// createTmp opens a new file in tmp, and makes tmp and its sisters if a copying tool lost them.
func (d *Dir) createTmp() (*os.File, string, error) {
	const tries = 8
	var err error
	for range tries {
		base := uniqueName()
		var f *os.File
		f, err = d.ops.create(d.root, subTmp+"/"+base)
		switch {
		case err == nil:
			return f, base, nil
		case errors.Is(err, fs.ErrNotExist):
			if err := d.complete(); err != nil {
				return nil, "", err
			}
		case !errors.Is(err, fs.ErrExist):
			return nil, "", err
		}
	}
	return nil, "", err
}

// fill writes the file and closes it in every case.
func (s *Staged) fill(f *os.File, r io.Reader, mtime time.Time) error {
	err := s.copy(f, r)
	if err == nil {
		s.file, err = f.Stat()
	}
	if err == nil && !mtime.IsZero() {
		err = s.dir.root.Chtimes(s.tmp, time.Now(), mtime)
	}
	if err == nil {
		err = s.dir.ops.sync(f)
	}
	if cerr := s.dir.ops.close(f); err == nil {
		err = cerr
	}
	return err
}

// copy moves the bytes of r to f and counts them; each LF without a CR before it counts twice in vsize.
func (s *Staged) copy(f *os.File, r io.Reader) error {
	space := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(space)
	buf := space[:]
	cr := false
	for {
		n, rerr := r.Read(buf)
		if n > 0 {
			b := buf[:n]
			if _, err := s.dir.ops.write(f, b); err != nil {
				return err
			}
			s.size += int64(n)
			s.vsize += int64(n) + bareLF(b, cr)
			cr = b[n-1] == '\r'
		}
		switch {
		case rerr == io.EOF:
			return nil
		case rerr != nil:
			return fmt.Errorf("read the message: %w", rerr)
		}
	}
}

// copyBuffers are what copy reads into: a server that delivers all the time needs no new one for each message.
var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// bareLF counts the LFs of b that no CR precedes; cr tells that one ended the bytes before b.
func bareLF(b []byte, cr bool) int64 {
	n := bytes.Count(b, []byte("\n")) - bytes.Count(b, []byte("\r\n"))
	if cr && len(b) > 0 && b[0] == '\n' {
		n--
	}
	return int64(n)
}

// Key is the part of the message's name that never changes.
func (s *Staged) Key() string { return s.key }

// Size is how many bytes the file has.
func (s *Staged) Size() int64 { return s.size }

// Path is where the message will be or is, below the Maildir: "new/NAME".
func (s *Staged) Path() string { return s.dest }

// Entry is what Scan tells of the message once it is committed.
func (s *Staged) Entry() Entry {
	_, name, _ := bytes.Cut([]byte(s.dest), []byte("/"))
	return newEntry(s.sub, string(name))
}

// Commit makes the message visible and durable, or returns an error and leaves nothing of it.
func (s *Staged) Commit() error { return Commit([]*Staged{s}) }

// Abort removes a message that was not committed. After Commit it does nothing.
func (s *Staged) Abort() error {
	if s.tmp == "" {
		return nil
	}
	err := s.dir.ops.remove(s.dir.root, s.tmp)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %q in %q: %w", s.tmp, s.dir.Path(), err)
	}
	s.tmp = ""
	return nil
}

// Commit makes all the messages, of one or several Maildirs, visible and durable. When it fails for one,
// those already visible are taken back, all are aborted, and the error names the one that failed. Only a
// crash in the middle, or a disk that also refuses the taking back, can leave some of them: never half
// a message, but one that will be delivered again.
func Commit(all []*Staged) error {
	for i, s := range all {
		if err := s.place(); err != nil {
			return errors.Join(err, takeBack(all[:i]), abort(all))
		}
	}
	if err := syncPlaces(all); err != nil {
		return errors.Join(err, takeBack(all), abort(all))
	}
	for _, s := range all {
		// The message is safe under its new name. A second name left in tmp only waits for Clean.
		s.Abort()
		s.tmp = ""
	}
	return nil
}

// place gives the file its final name, and never one that is taken: it is moved where the system can refuse that. Elsewhere
// a link refuses it; and where a file system has no links, a look and a rename must do.
func (s *Staged) place() error {
	if s.tmp == "" {
		return fmt.Errorf("commit %q in %q: already committed or aborted", s.key, s.dir.Path())
	}
	o, root := s.dir.ops, s.dir.root
	moved := true
	err := o.move(root, s.tmp, s.dest)
	if unsupported(err) || errors.Is(err, syscall.EINVAL) {
		moved = false
		err = o.link(root, s.tmp, s.dest)
	}
	if unsupported(err) {
		if err = s.dir.absent(s.dest); err == nil {
			moved = true
			err = o.rename(root, s.tmp, s.dest)
		}
	}
	if err != nil && !s.arrived() {
		return fmt.Errorf("commit %q in %q: %w", s.dest, s.dir.Path(), err)
	}
	if moved {
		s.tmp = ""
	}
	return nil
}

// arrived tells whether our file has its final name although the call failed: a network file system repeats a call of which
// the answer got lost, and then tells of the second.
func (s *Staged) arrived() bool {
	info, err := s.dir.root.Lstat(s.dest)
	return err == nil && os.SameFile(info, s.file)
}

// unsupported tells that a call failed because the file system or the system does not have it.
func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM)
}

// absent is nil when nothing has the name, and fs.ErrExist when something has.
func (d *Dir) absent(name string) error {
	_, err := d.root.Lstat(name)
	switch {
	case err == nil:
		return &fs.PathError{Op: "rename", Path: name, Err: fs.ErrExist}
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// syncPlaces fsyncs each directory once that a message was put into.
func syncPlaces(all []*Staged) error {
	type place struct {
		dir *Dir
		sub string
	}
	done := make(map[place]bool)
	for _, s := range all {
		p := place{s.dir, s.sub}
		if done[p] {
			continue
		}
		done[p] = true
		if err := syncs.dir(s.dir.ops, s.dir.root, s.sub); err != nil {
			return fmt.Errorf("sync %s in %q: %w", s.sub, s.dir.Path(), err)
		}
	}
	return nil
}

// takeBack removes messages that became visible, also where a reader has moved them to cur by now.
func takeBack(placed []*Staged) error {
	var errs []error
	for _, s := range placed {
		if err := s.dir.Remove(s.Entry()); err != nil {
			errs = append(errs, fmt.Errorf("take back %q: %w", s.dest, err))
		}
	}
	syncPlaces(placed)
	return errors.Join(errs...)
}

func abort(all []*Staged) error {
	var errs []error
	for _, s := range all {
		errs = append(errs, s.Abort())
		s.tmp = ""
	}
	return errors.Join(errs...)
}
