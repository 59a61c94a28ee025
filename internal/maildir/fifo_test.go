//go:build unix

package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Nobody is at the other end of these FIFOs: whoever opened one as the system does by itself would wait for ever.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	md := filepath.Join(dir, "Maildir")
	d, err := CreatePath(md)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range []string{"box", "Maildir/.box", "Maildir/maildirsize", "Maildir/cur/1.a.b:2,S"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parent, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	for name, open := range map[string]func() (*Dir, error){
		"Create":     func() (*Dir, error) { return Create(parent, "box") },
		"CreatePath": func() (*Dir, error) { return CreatePath(filepath.Join(dir, "box")) },
		"OpenPath":   func() (*Dir, error) { return OpenPath(filepath.Join(dir, "box")) },
		"Folder":     func() (*Dir, error) { return d.CreateFolder("box") },
	} {
		if _, err := open(); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.CountMessage(1)
	if err := d.Fits(Quota{}, 1); err != nil {
		t.Errorf("a maildirsize that says nothing: %v", err)
	}
	s, err := d.Stage(strings.NewReader("a\n"), StageOptions{})
	if err == nil {
		err = s.Commit()
	}
	if err != nil {
		t.Error(err)
	}
	list, err := d.Scan()
	if err != nil || len(list) != 1 {
		t.Errorf("%d messages: %v", len(list), err)
	}
}
