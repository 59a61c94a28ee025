package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mbox"
	"pennypost/internal/status"
)

const (
	lockPoll  = 50 * time.Millisecond
	lockStale = 5 * time.Minute // a dotlock this old has been left by a program that died
)

// lockWait is how long a delivery waits for the lock of an mbox. Tests shorten it.
var lockWait = 30 * time.Second

// place is an mbox: a file below an open directory.
type place struct {
	root *os.Root
	name string // below root
	path string // for people
	own  bool   // root is the place's and is closed with it
}

func (p place) close() error {
	if !p.own {
		return nil
	}
	return p.root.Close()
}

// An appended is an mbox that holds a new message at its end, is still locked, and can be put back to
// its old size.
type appended struct {
	place
	f    *os.File
	old  int64 // size before
	kept bool
	lock string // name of the dotlock below root, "" when there is none
}

// appendTo appends a copy to the mbox at (mboxrd, RFC 4155 in all but quoting): locked by fcntl and by
// a dotlock, on disk when it returns. The job keeps the lock until it ends.
func (j *job) appendTo(at place, to envelope.Address) error {
	a, err := openMbox(j.ctx, at)
	if err != nil {
		return err
	}
	j.appended = append(j.appended, a)
	if err := a.write(j.sender.String(), j.copy(to)); err != nil {
		return status.Of(err)
	}
	j.paths = append(j.paths, at.path)
	return nil
}

// openMbox opens or makes the file, locks it, and notes its size.
func openMbox(ctx context.Context, at place) (*appended, error) {
	if info, err := at.root.Stat(at.name); err == nil && !info.Mode().IsRegular() {
		return nil, status.Errorf(status.CantCreate, "mbox %q is not a regular file", at.path)
	}
	a := &appended{place: at}
	made, err := a.open()
	if err != nil {
		return nil, status.Of(fmt.Errorf("open mbox %q: %w", at.path, err))
	}
	if err = a.acquire(ctx); err == nil {
		a.old, err = a.f.Seek(0, io.SeekEnd)
	}
	if err == nil && made {
		err = a.syncParent()
	}
	if err != nil {
		a.kept = true // nothing was written
		a.close()
		return nil, status.Of(err)
	}
	return a, nil
}

func (a *appended) open() (made bool, err error) {
	a.f, err = a.root.OpenFile(a.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		a.f, err = a.root.OpenFile(a.name, os.O_RDWR, 0)
		return false, err
	}
	return true, err
}

// write puts the separator, if one is missing, and the message at the end.
func (a *appended) write(from string, r io.Reader) error {
	gap, err := a.gap()
	if err != nil {
		return err
	}
	if _, err := a.f.WriteAt(gap, a.old); err != nil {
		return err
	}
	if _, err := a.f.Seek(a.old+int64(len(gap)), io.SeekStart); err != nil {
		return err
	}
	if err := mbox.NewWriter(a.f, mbox.RD).WriteMessage(from, time.Now(), r); err != nil {
		return err
	}
	return a.f.Sync()
}

// gap is what the file lacks of the empty line that must stand before a From_ line.
func (a *appended) gap() ([]byte, error) {
	if a.old == 0 {
		return nil, nil
	}
	tail := make([]byte, min(a.old, 3))
	if _, err := a.f.ReadAt(tail, a.old-int64(len(tail))); err != nil {
		return nil, err
	}
	end := string(tail)
	switch {
	case end[len(end)-1] != '\n':
		return []byte("\n\n"), nil
	case len(end) > 1 && end[len(end)-2] == '\n', len(end) > 2 && end[len(end)-3:] == "\n\r\n":
		return nil, nil
	}
	return []byte("\n"), nil
}

// keep lets the message stay.
func (a *appended) keep() { a.kept = true }

// close takes the message away unless it is to be kept, unlocks and closes the file.
func (a *appended) close() error {
	var errs []error
	if !a.kept {
		if err := a.f.Truncate(a.old); err != nil {
			errs = append(errs, fmt.Errorf("put %q back to %d bytes: %w", a.path, a.old, err))
		}
		errs = append(errs, a.f.Sync())
	}
	if a.lock != "" {
		errs = append(errs, a.root.Remove(a.lock))
	}
	// Closing the descriptor gives up the fcntl lock.
	return errors.Join(append(errs, a.f.Close())...)
}

// acquire takes the fcntl lock and then the dotlock, which is the order of Debian's policy.
func (a *appended) acquire(ctx context.Context) error {
	deadline := time.Now().Add(lockWait)
	err := wait(ctx, deadline, func() (bool, error) { return lockFile(a.f) })
	if err != nil {
		return status.Errorf(status.TempFail, "lock mbox %q: %w", a.path, err)
	}
	err = wait(ctx, deadline, func() (bool, error) { return a.dotlock(a.name + ".lock") })
	if errors.Is(err, fs.ErrPermission) {
		// A spool directory that users may not write to: other programs have only the fcntl lock there too.
		return nil
	}
	if err != nil {
		return status.Errorf(status.TempFail, "lock mbox %q: %w", a.path+".lock", err)
	}
	return nil
}

var errLocked = errors.New("another program holds the lock")

// wait tries until it works, fails, or the time is over.
func wait(ctx context.Context, deadline time.Time, try func() (bool, error)) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		ok, err := try()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errLocked
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// dotlock makes the lock file with our process number in it. One that is older than five minutes is taken away:
// it is renamed first, so that a fresh lock is never removed by mistake.
func (a *appended) dotlock(lock string) (bool, error) {
	f, err := a.root.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		removeStale(a.root, lock)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.WriteString(strconv.Itoa(os.Getpid()))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		a.root.Remove(lock)
		return false, err
	}
	a.lock = lock
	return true, nil
}

func removeStale(root *os.Root, lock string) {
	old, err := root.Lstat(lock)
	if err != nil || time.Since(old.ModTime()) < lockStale {
		return
	}
	aside := lock + "." + strconv.Itoa(os.Getpid())
	if root.Rename(lock, aside) != nil {
		return
	}
	if now, err := root.Lstat(aside); err == nil && !os.SameFile(old, now) {
		root.Link(aside, lock)
	}
	root.Remove(aside)
}

func (a *appended) syncParent() error {
	d, err := a.root.Open(path.Dir(a.name))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
