package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// write makes files in a Maildir.
func write(t *testing.T, path string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(path, filepath.FromSlash(name)), []byte("text of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func scan(t *testing.T, d *Dir) []Entry {
	t.Helper()
	list, err := d.Scan()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestScanTakesMessagesInOrderOfTime(t *testing.T) {
	d, path := newDir(t)
	write(t, path, "new/1000.M5P1.h,S=3,W=4", "cur/999.M9P1.h:2,RSX,tail", "new/1000.M10P1.h", "cur/plain", "cur/1000.M5P2.h",
		"new/.hidden", "tmp/1.M1P1.h", "new/two\nlines")
	if err := os.Mkdir(filepath.Join(path, "cur", "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("plain", filepath.Join(path, "cur", "link")); err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{"plain", "cur", "plain", "", -1, -1},
		{"999.M9P1.h", "cur", "999.M9P1.h:2,RSX,tail", "RSX", -1, -1},
		{"1000.M5P1.h,S=3,W=4", "new", "1000.M5P1.h,S=3,W=4", "", 3, 4},
		{"1000.M5P2.h", "cur", "1000.M5P2.h", "", -1, -1},
		{"1000.M10P1.h", "new", "1000.M10P1.h", "", -1, -1},
	}
	if got := scan(t, d); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestScanOfNothing(t *testing.T) {
	d, path := newDir(t)
	for _, sub := range []string{"new", "cur"} {
		if err := os.Remove(filepath.Join(path, sub)); err != nil {
			t.Fatal(err)
		}
	}
	if got := scan(t, d); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestScanGivesOneOfTwoFilesANewName(t *testing.T) {
	d, path := newDir(t)
	write(t, path, "new/1.M1P1.h", "cur/1.M1P1.h:2,S")
	list := scan(t, d)
	if len(list) != 2 || list[0].Key == list[1].Key {
		t.Fatalf("got %v", list)
	}
	texts := map[string]bool{}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(path, filepath.FromSlash(e.path())))
		if err != nil {
			t.Fatal(err)
		}
		texts[string(b)] = true
	}
	if len(texts) != 2 {
		t.Errorf("texts %v", texts)
	}
	if again := scan(t, d); len(again) != 2 {
		t.Errorf("a second scan gives %v", again)
	}
}

func TestScanCountsOneFileWithTwoNamesOnce(t *testing.T) {
	d, path := newDir(t)
	write(t, path, "cur/1.M1P1.h:2,S")
	if err := os.Link(filepath.Join(path, "cur/1.M1P1.h:2,S"), filepath.Join(path, "cur/1.M1P1.h:2,FS")); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, d); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// While another program takes messages from new to cur, every scan finds each once, and each can be opened.
func TestScanWhileMessagesMove(t *testing.T) {
	const n = 300
	d, path := newDir(t)
	for range n {
		deliver(t, d, "x", StageOptions{})
	}
	first := scan(t, d)
	done := make(chan error)
	go func() {
		other, err := OpenPath(path)
		if err != nil {
			done <- err
			return
		}
		defer other.Close()
		for _, e := range first {
			if _, err := other.SetFlags(e, "S"); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for moving := true; moving; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			moving = false
		default:
		}
		list := scan(t, d)
		if len(list) != n {
			t.Fatalf("%d of %d messages", len(list), n)
		}
		for _, e := range list[:20] {
			f, err := d.OpenEntry(e)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
	}
	for _, e := range first {
		f, err := d.OpenEntry(e) // all of these names are old
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

func TestSetFlags(t *testing.T) {
	for _, c := range []struct{ name, file, flags, want string }{
		{"in new", "new/1.h", "S", "cur/1.h:2,S"},
		{"sorted", "cur/1.h:2,", "TSD", "cur/1.h:2,DST"},
		{"without info", "cur/1.h", "F", "cur/1.h:2,F"},
		{"cleared", "cur/1.h:2,FS", "", "cur/1.h:2,"},
		{"unknown letters and tail kept", "cur/1.h:2,SXq,12,Y", "F", "cur/1.h:2,FX,12,Y"},
		{"foreign info kept", "cur/1.h:1,x", "S", "cur/1.h:1,x:2,S"},
		{"same", "cur/1.h:2,S", "S", "cur/1.h:2,S"},
		{"nothing to write", "cur/1.h", "", "cur/1.h"},
		{"unsorted on disk", "cur/1.h:2,SF", "FS", "cur/1.h:2,FS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, path := newDir(t)
			write(t, path, c.file)
			e, err := d.SetFlags(scan(t, d)[0], c.flags)
			if err != nil {
				t.Fatal(err)
			}
			if got := files(t, path, "new", "cur"); len(got) != 1 || got[0] != c.want || e.path() != c.want {
				t.Errorf("files %q, entry %v, want %q", got, e, c.want)
			}
		})
	}
}

func TestSetFlagsKeepsTheOthersChange(t *testing.T) {
	d, path := newDir(t)
	write(t, path, "cur/1.h:2,S")
	stale := scan(t, d)[0]
	if _, err := d.SetFlags(stale, "FS"); err != nil {
		t.Fatal(err)
	}
	e, err := d.SetFlags(stale, "RS")
	if err != nil || e.Name != "1.h:2,FRS" {
		t.Errorf("got %v, %v", e, err)
	}
}

func TestSetFlagsNeverOverwrites(t *testing.T) {
	d, path := newDir(t)
	write(t, path, "cur/1.h:2,S")
	e := scan(t, d)[0]
	write(t, path, "cur/1.h:2,FS")
	if _, err := d.SetFlags(e, "FS"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	if got := files(t, path, "cur"); len(got) != 2 {
		t.Errorf("files %q", got)
	}
}

func TestSetFlagsRefusesLetters(t *testing.T) {
	d, path := newDir(t)
	write(t, path, "cur/1.h:2,X")
	e := scan(t, d)[0]
	for _, flags := range []string{"X,", "/", "Z", ":"} {
		if _, err := d.SetFlags(e, flags); err == nil {
			t.Errorf("%q was accepted", flags)
		}
	}
	if _, err := d.SetFlags(e, "XS"); err != nil {
		t.Errorf("a letter that was there: %v", err)
	}
}

func TestMoveNewAndRemove(t *testing.T) {
	d, path := newDir(t)
	e := deliver(t, d, "x", StageOptions{})
	moved, err := d.MoveNew(e)
	if err != nil || moved.Sub != "cur" || moved.Name != e.Key+":2," {
		t.Fatalf("got %v, %v", moved, err)
	}
	again, err := d.MoveNew(e) // known only under its old name
	if err != nil || again != moved {
		t.Errorf("got %v, %v, want %v", again, err, moved)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := d.Remove(e); err != nil {
			t.Error(err)
		}
	}
	if got := files(t, path, "tmp", "new", "cur"); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	for name, err := range map[string]error{
		"OpenEntry": func() error { _, err := d.OpenEntry(e); return err }(),
		"Stat":      func() error { _, err := d.Stat(e); return err }(),
		"SetFlags":  func() error { _, err := d.SetFlags(e, "S"); return err }(),
		"MoveNew":   func() error { _, err := d.MoveNew(moved); return err }(),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a message that is gone: %v", name, err)
		}
	}
}

func TestFolders(t *testing.T) {
	d, path := newDir(t)
	for _, name := range []string{"Sent", "A.B", "A", "Entw&APw-rfe"} {
		f, err := d.CreateFolder(name)
		if err != nil {
			t.Fatal(err)
		}
		deliver(t, f, "x", StageOptions{})
		f.Close()
		if _, err := os.Stat(filepath.Join(path, "."+name, "maildirfolder")); err != nil {
			t.Error(err)
		}
		if _, err := d.CreateFolder(name); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second CreateFolder: %v", err)
		}
	}
	for _, dir := range []string{".", "..strange", "nodot", ".halfmade", ".trailing.", ".two..dots"} {
		os.MkdirAll(filepath.Join(path, dir, "new"), 0o700)
	}
	os.Mkdir(filepath.Join(path, "..strange", "cur"), 0o700)
	os.Mkdir(filepath.Join(path, ".two..dots", "cur"), 0o700)
	os.WriteFile(filepath.Join(path, ".file"), nil, 0o600)
	outside := t.TempDir()
	os.Mkdir(filepath.Join(outside, "cur"), 0o700)
	os.Symlink(outside, filepath.Join(path, ".outside"))
	want := []string{"A", "A.B", "Entw&APw-rfe", "Sent"}
	if got, err := d.Folders(); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for _, name := range []string{"none", ".A", "A.", "A..B", "a/b", "../x", "a\nb", "outside", "halfmade"} {
		if f, err := d.Folder(name); err == nil {
			f.Close()
			t.Errorf("Folder(%q) succeeded", name)
		}
	}
	inbox, err := d.Folder("")
	if err != nil {
		t.Fatal(err)
	}
	inbox.Close()
	if got := scan(t, d); len(got) != 0 {
		t.Errorf("closing a folder closed the mailbox, or %v", got)
	}
	half, err := d.CreateFolder("halfmade")
	if err != nil {
		t.Fatal(err)
	}
	half.Close()
}

func TestOpenPathWantsAMaildir(t *testing.T) {
	if _, err := OpenPath(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := OpenPath(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	d, path := newDir(t)
	deliver(t, d, "x", StageOptions{})
	again, err := CreatePath(path) // it exists: nothing is lost
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := scan(t, again); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestClean(t *testing.T) {
	d, path := newDir(t)
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	old := now.Add(-37 * time.Hour)
	for _, c := range []struct {
		name  string
		mtime time.Time
	}{
		{"1000000000.M1P1.h", old},
		{"foreign", old},
		{"foreign-young", now.Add(-35 * time.Hour)},
		{"1795521600.M1P1.h", old}, // staged just now, with an old internal date
	} {
		write(t, path, "tmp/"+c.name)
		if err := os.Chtimes(filepath.Join(path, "tmp", c.name), now, c.mtime); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, "new/1000000000.M1P1.h")
	os.Chtimes(filepath.Join(path, "new/1000000000.M1P1.h"), now, old)
	n, err := d.Clean(now)
	want := []string{"tmp/1795521600.M1P1.h", "tmp/foreign-young", "new/1000000000.M1P1.h"}
	if got := files(t, path, "tmp", "new"); n != 2 || err != nil || !slices.Equal(got, want) {
		t.Errorf("removed %d, %v; left %q, want %q", n, err, got, want)
	}
}

func BenchmarkScan(b *testing.B) {
	d, path := newDir(b)
	for i := range 10_000 {
		name := filepath.Join(path, "cur", fmt.Sprintf("%d.M%dP1.host,S=100,W=110:2,S", 1795000000+i/3, i))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if list, err := d.Scan(); err != nil || len(list) != 10_000 {
			b.Fatal(len(list), err)
		}
	}
}
