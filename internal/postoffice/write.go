package postoffice

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"pennypost/internal/status"
)

// lockWait is how long rewrite waits for another writer, lockPoll how often it looks.
const (
	lockWait = 5 * time.Second
	lockPoll = 20 * time.Millisecond
)

// rewrite replaces the file name with what content returns, while nobody else does: the new text is written
// into NAME.lock, which only one can create, and renamed over NAME when it is on disk. A lock that a
// killed program left is not stolen: the error names it.
func (o *Office) rewrite(name string, content func() ([]byte, error)) error {
	lock := name + ".lock"
	f, err := o.lockFile(lock)
	if err != nil {
		return err
	}
	text, err := content()
	if err == nil {
		err = fill(f, text)
	} else {
		f.Close()
	}
	if err == nil {
		inheritOwner(o.root, lock, path.Dir(name))
		err = o.root.Rename(lock, name)
	}
	if err != nil {
		o.root.Remove(lock)
		return status.Errorf(status.CantCreate, "write %q: %w", name, err)
	}
	return syncDir(o.root, path.Dir(name))
}

func (o *Office) lockFile(lock string) (*os.File, error) {
	for start := time.Now(); ; time.Sleep(lockPoll) {
		f, err := o.root.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, status.Errorf(status.CantCreate, "lock: %w", err)
		}
		if time.Since(start) > lockWait {
			return nil, status.Errorf(status.TempFail,
				"lock %q is held by another program; remove it if none is running", lock)
		}
	}
}

// createOnce makes the file name with the text unless it exists, so that of several that try at a time one
// wins and no reader sees half of it.
func (o *Office) createOnce(name string, text []byte) error {
	stage := path.Join(path.Dir(name), "."+path.Base(name)+"."+rand.Text())
	f, err := o.root.OpenFile(stage, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer o.root.Remove(stage)
	if err := fill(f, text); err != nil {
		return err
	}
	inheritOwner(o.root, stage, path.Dir(name))
	if err := o.root.Link(stage, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(o.root, path.Dir(name))
}

// fill writes the text durably and closes f.
func fill(f *os.File, text []byte) error {
	_, err := f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func syncDir(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", name, err)
	}
	return nil
}
