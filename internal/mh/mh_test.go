package mh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func newFolder(t *testing.T, files ...string) (*Folder, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	f, err := Create(root, "inbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, "inbox", name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f, filepath.Join(dir, "inbox")
}

func names(t *testing.T, path string) (all []string) {
	t.Helper()
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, de := range list {
		all = append(all, de.Name())
	}
	return all
}

func TestNumbers(t *testing.T) {
	f, path := newFolder(t, "2", "10", "011", ",12", "13x", ".mh_sequences")
	for _, want := range []string{"11", "12"} {
		s, err := f.Stage(strings.NewReader("text\n"))
		if err != nil {
			t.Fatal(err)
		}
		if list := names(t, path); slices.Contains(list, want) {
			t.Errorf("visible before its time: %q", list)
		}
		if err := s.Commit(); err != nil || s.Path() != filepath.Join(path, want) {
			t.Fatalf("got %q, %v, want %s", s.Path(), err, want)
		}
		if text, err := os.ReadFile(s.Path()); err != nil || string(text) != "text\n" {
			t.Errorf("%s: %q, %v", want, text, err)
		}
	}
	s, err := f.Stage(strings.NewReader("back"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Abort(); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, path), []string{",12", ".mh_sequences", "011", "10", "11", "12", "13x", "2"}; !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
}

// A network file system may repeat a call whose answer got lost and tell of the second, which fails.
func TestAnswerLost(t *testing.T) {
	f, path := newFolder(t, "1")
	o := realOps
	o.link = func(root *os.Root, old, new string) error {
		if err := root.Link(old, new); err != nil {
			return err
		}
		return os.ErrExist
	}
	f.ops = &o
	s, err := f.Stage(strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil || filepath.Base(s.Path()) != "2" {
		t.Errorf("got %q, %v", s.Path(), err)
	}
	if got := names(t, path); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("left %q", got)
	}
}

func TestTogether(t *testing.T) {
	f, path := newFolder(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			s, err := f.Stage(strings.NewReader(fmt.Sprint(i)))
			if err == nil {
				err = s.Commit()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var texts []string
	for n := 1; n <= 20; n++ {
		text, err := os.ReadFile(filepath.Join(path, fmt.Sprint(n)))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	slices.Sort(texts)
	if list := slices.Compact(texts); len(list) != 20 || len(names(t, path)) != 20 {
		t.Errorf("got %q in %q", list, names(t, path))
	}
}

func TestFolderIsNone(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/tmp", filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "away", "../other", "missing/inbox"} {
		if f, err := Create(root, name); err == nil {
			f.Close()
			t.Errorf("%s: it is open", name)
		}
	}
}

var errDisk = errors.New("the disk is on fire")

// Each call fails in turn: a message is there whole, or not at all, and nothing else is left where the disk allows to remove it.
func TestFaults(t *testing.T) {
	for at := 1; ; at++ {
		f, path := newFolder(t, "1")
		n := 0
		do := func(call func() error) error {
			if n++; n == at {
				return errDisk
			}
			return call()
		}
		f.ops = &ops{
			create: func(root *os.Root, name string) (file *os.File, err error) {
				err = do(func() error { file, err = realOps.create(root, name); return err })
				return file, err
			},
			write: func(file *os.File, b []byte) (int, error) {
				return len(b), do(func() error { _, err := file.Write(b); return err })
			},
			sync:    func(file *os.File) error { return do(file.Sync) },
			link:    func(root *os.Root, old, new string) error { return do(func() error { return root.Link(old, new) }) },
			remove:  func(root *os.Root, name string) error { return do(func() error { return root.Remove(name) }) },
			syncDir: func(root *os.Root) error { return do(func() error { return syncDir(root) }) },
		}
		s, err := f.Stage(strings.NewReader("whole"))
		if err == nil {
			err = s.Commit()
		}
		text, rerr := os.ReadFile(filepath.Join(path, "2"))
		if (err == nil) != (rerr == nil) || err == nil && string(text) != "whole" {
			t.Errorf("fault %d: %v, and it is %q, %v", at, err, text, rerr)
		}
		if left := names(t, path); err != nil && len(left) != 1 {
			t.Errorf("fault %d: left %q", at, left)
		}
		if n < at {
			break
		}
	}
}

func FuzzNumber(f *testing.F) {
	f.Add("12")
	f.Add("012")
	f.Add("+1")
	f.Fuzz(func(t *testing.T, name string) {
		if n, ok := Number(name); ok && fmt.Sprint(n) != name {
			t.Errorf("%q: %d", name, n)
		}
	})
}
