package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pennypost/internal/maildir"
	"pennypost/internal/mbox"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// dest takes messages. Nothing of them is visible before commit; either commit or abort ends it.
type dest interface {
	put(*item) error // errGone if the message was removed meanwhile
	commit() error
	abort() error
}

var errGone = errors.New("message is gone")

func openDest(l location, o options, stdout io.Writer) (dest, error) {
	switch {
	case l.maildir:
		return createMaildir(l.path)
	case l.standard():
		return &mboxDest{w: mbox.NewWriter(stdout, l.format)}, nil
	}
	return createMbox(l, o.force)
}

// mboxDest writes a file under another name and gives it its own at the end.
type mboxDest struct {
	path  string
	force bool
	tmp   *os.File // nil for standard output
	w     *mbox.Writer
}

func createMbox(l location, force bool) (dest, error) {
	d := &mboxDest{path: l.path, force: force}
	if _, err := os.Lstat(l.path); err == nil && !force {
		return nil, d.exists()
	}
	var err error
	if d.tmp, err = os.CreateTemp(filepath.Dir(l.path), "."+filepath.Base(l.path)+".*"); err != nil {
		return nil, status.Errorf(status.CantCreate, "write mailbox: %w", err)
	}
	d.w = mbox.NewWriter(d.tmp, l.format)
	return d, nil
}

func (d *mboxDest) exists() error {
	return status.Errorf(status.CantCreate, "write mailbox: %q exists; --force replaces it", d.path)
}

func (d *mboxDest) put(it *item) error {
	err := d.write(it)
	if err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("write mailbox: %w", err)
	}
	return err
}

func (d *mboxDest) write(it *item) error {
	switch {
	case it.raw != nil && it.rule == mbox.Strict:
		return d.w.Copy(it.raw)
	case it.raw != nil:
		// The next From_ line may follow without an empty line; here it shall not.
		return d.w.WriteRaw(it.raw.FromLine, it.raw.Body)
	case it.file == nil:
		return errGone
	}
	m, sender, err := mbox.WithFlags(it.message(), it.flags())
	if err != nil {
		return err
	}
	return d.w.WriteMessage(sender, it.info.ModTime(), m.Reader())
}

func (d *mboxDest) commit() error {
	if d.tmp == nil {
		return nil
	}
	err := d.tmp.Sync()
	if cerr := d.tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.place()
	}
	if err == nil {
		return syncDir(filepath.Dir(d.path))
	}
	os.Remove(d.tmp.Name())
	if errors.Is(err, fs.ErrExist) {
		return d.exists()
	}
	return fmt.Errorf("write mailbox: %w", err)
}

// place gives the file its name. A link does not replace what has the name
// meanwhile; a file system without links leaves a rename after another look.
func (d *mboxDest) place() error {
	if d.force {
		return os.Rename(d.tmp.Name(), d.path)
	}
	err := os.Link(d.tmp.Name(), d.path)
	if err == nil {
		return os.Remove(d.tmp.Name())
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, serr := os.Lstat(d.path); !errors.Is(serr, fs.ErrNotExist) {
		return errors.Join(fs.ErrExist, serr)
	}
	return os.Rename(d.tmp.Name(), d.path)
}

func (d *mboxDest) abort() error {
	if d.tmp == nil {
		return nil
	}
	d.tmp.Close()
	return os.Remove(d.tmp.Name())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// maildirDest stages every message and shows them all at the end.
type maildirDest struct {
	dir    *maildir.Dir
	path   string
	made   bool // by us: removed again when nothing came of it
	staged []*maildir.Staged
}

func createMaildir(path string) (dest, error) {
	d := &maildirDest{path: path}
	inside, err := os.ReadDir(path)
	d.made = errors.Is(err, fs.ErrNotExist)
	if len(inside) > 0 {
		// To make a Maildir of a directory that holds other things is hardly meant.
		d.dir, err = maildir.OpenPath(path)
	} else {
		d.dir, err = maildir.CreatePath(path)
	}
	if err != nil {
		return nil, status.Errorf(status.CantCreate, "%w", err)
	}
	return d, nil
}

func (d *maildirDest) put(it *item) error {
	m, flags, date := (*message.Message)(nil), mbox.Flags{}, time.Time{}
	switch {
	case it.raw != nil:
		whole, err := message.Spool(it.raw.Body, 0)
		if err != nil {
			return err
		}
		defer whole.Close()
		if m, flags, err = mbox.WithoutFlags(whole); err != nil {
			return err
		}
		_, date, _ = mbox.ParseFrom(it.raw.FromLine)
	case it.file == nil:
		return errGone
	default:
		m, flags, date = it.message(), it.flags(), it.info.ModTime()
	}
	s, err := d.dir.Stage(m.Reader(), maildir.StageOptions{Flags: mbox.Settable(flags.Letters), Cur: !flags.New, Time: date})
	if err != nil {
		return err
	}
	d.staged = append(d.staged, s)
	return nil
}

func (d *maildirDest) commit() error {
	err := maildir.Commit(d.staged)
	if err != nil {
		d.staged = nil
		return errors.Join(err, d.abort())
	}
	if d.made {
		err = syncDir(filepath.Dir(d.path))
	}
	return errors.Join(err, d.dir.Close())
}

func (d *maildirDest) abort() error {
	var errs []error
	for _, s := range d.staged {
		errs = append(errs, s.Abort())
	}
	errs = append(errs, d.dir.Close())
	if d.made {
		for _, sub := range []string{"cur", "new", "tmp", ""} {
			os.Remove(filepath.Join(d.path, sub)) // only what is empty goes
		}
	}
	return errors.Join(errs...)
}
