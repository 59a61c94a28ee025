package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// uidLockName is the lock that Dovecot takes too: who has made it may give UIDs, and change names in a
// way that a scan must not meet half done.
const uidLockName = "dovecot-uidlist.lock"

const (
	lockStale = 120 * time.Second // a lock unchanged for so long is dead, unless its holder is seen alive
	lockWait  = 122 * time.Second // so a dead one is always outwaited
)

// A uidLock is a lock while it is held.
type uidLock struct {
	dir  *Dir
	name string
	info fs.FileInfo
}

// LockUIDs takes the lock on UIDs and names, for STORE and EXPUNGE of many messages. [Dir.Index] and
// [Dir.AddKeywords] take it themselves and must not be called while it is held. It waits for at most 122 s,
// or for ctx.
func (d *Dir) LockUIDs(ctx context.Context) (release func(), err error) {
	l, err := d.lockUIDs(ctx)
	if err != nil {
		return nil, err
	}
	return l.release, nil
}

func (d *Dir) lockUIDs(ctx context.Context) (*uidLock, error) { return d.lock(ctx, uidLockName) }

// lock makes the lock file name, and waits while another one holds it.
func (d *Dir) lock(ctx context.Context, name string) (*uidLock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		l, err := d.tryLock(name)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make %q in %q: %w", name, d.Path(), err)
		}
		if d.breakLock(name, time.Now()) {
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("make %q in %q, held by %s: %w", name, d.Path(), d.lockHolder(name), ctx.Err())
		}
	}
}

// tryLock makes the lock file; fs.ErrExist when another one holds it.
func (d *Dir) tryLock(name string) (*uidLock, error) {
	f, err := d.ops.create(d.root, name)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(lockText())
	info, serr := f.Stat()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err = errors.Join(err, serr); err != nil {
		return nil, errors.Join(err, d.root.Remove(name))
	}
	return &uidLock{d, name, info}, nil
}

// lockText is what Dovecot writes too.
func lockText() string { return fmt.Sprintf("%d:%s", os.Getpid(), lockHost()) }

func lockHost() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}

// lockHolder is the lock's text for messages to people.
func (d *Dir) lockHolder(name string) string {
	b, err := d.root.ReadFile(name)
	if err != nil || len(b) > 256 {
		return "nobody known"
	}
	return strconv.Quote(string(b))
}

// breakLock removes a lock whose holder is dead: a process of this host that is not there, or one that
// nobody can ask and that has not touched it for two minutes. It tells whether to try again at once.
func (d *Dir) breakLock(name string, now time.Time) bool {
	info, err := d.root.Lstat(name)
	if err != nil {
		return isNotExist(err)
	}
	text, err := d.root.ReadFile(name)
	if err != nil {
		return isNotExist(err)
	}
	pid, host, _ := strings.Cut(string(text), ":")
	n, err := strconv.Atoi(pid)
	known := err == nil && n > 0 && host == lockHost()
	if known && processAlive(n) || !known && now.Sub(info.ModTime()) < lockStale {
		return false
	}
	// Another one may have broken it and made its own since: move it away and look before it goes.
	aside := name + "." + uniqueName()
	if d.root.Rename(name, aside) != nil {
		return true
	}
	if moved, err := d.root.Lstat(aside); err == nil && !sameLock(info, moved) {
		d.root.Link(aside, name)
	}
	d.root.Remove(aside)
	return true
}

// processAlive errs on the side of yes.
func processAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH)
}

// sameLock compares times too: a new file may get the number of the one that was removed.
func sameLock(a, b fs.FileInfo) bool { return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) }

// check fails when the lock was taken away, as from a process that was stopped for minutes.
func (l *uidLock) check() error {
	info, err := l.dir.root.Lstat(l.name)
	if err == nil && sameLock(info, l.info) {
		if text, err := l.dir.root.ReadFile(l.name); err == nil && string(text) == lockText() {
			return nil
		}
	}
	return errors.New("the lock was taken away")
}

func (l *uidLock) release() {
	if l.check() == nil {
		l.dir.root.Remove(l.name)
	}
}
