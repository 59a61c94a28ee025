package maildir

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

func newDir(t testing.TB) (*Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Maildir")
	d, err := CreatePath(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, path
}

// deliver puts a text into new and returns its entry.
func deliver(t testing.TB, d *Dir, text string, o StageOptions) Entry {
	t.Helper()
	s, err := d.Stage(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	return s.Entry()
}

// files lists what is in a Maildir, as "sub/name".
func files(t testing.TB, path string, subs ...string) []string {
	t.Helper()
	var all []string
	for _, sub := range subs {
		list, err := os.ReadDir(filepath.Join(path, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			all = append(all, sub+"/"+e.Name())
		}
	}
	return all
}

func TestStageAndCommit(t *testing.T) {
	d, path := newDir(t)
	const text = "Subject: x\n\nline\r\nlone\rCR\n"
	s, err := d.Stage(iotest.OneByteReader(strings.NewReader(text)), StageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, path, "new", "cur"); len(got) != 0 {
		t.Errorf("visible before Commit: %q", got)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	suffix := fmt.Sprintf(",S=%d,W=%d", len(text), len(text)+3)
	if !strings.HasSuffix(s.Key(), suffix) {
		t.Errorf("key %q has not the suffix %q", s.Key(), suffix)
	}
	if got, want := files(t, path, "tmp", "new", "cur"), []string{"new/" + s.Key()}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	file := filepath.Join(path, filepath.FromSlash(s.Path()))
	if b, err := os.ReadFile(file); err != nil || string(b) != text {
		t.Errorf("read %q, %v", b, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
	if err := s.Commit(); err == nil {
		t.Error("a second Commit succeeded")
	}
	if got := files(t, path, "tmp", "new", "cur"); len(got) != 1 {
		t.Errorf("files after Abort and a second Commit: %q", got)
	}
}

func TestStageOptions(t *testing.T) {
	d, _ := newDir(t)
	when := time.Date(1999, 12, 31, 23, 59, 58, 0, time.UTC)
	for _, c := range []struct {
		o           StageOptions
		sub, suffix string
	}{
		{StageOptions{}, "new", ""},
		{StageOptions{Cur: true}, "cur", ":2,"},
		{StageOptions{Flags: "SFaS"}, "cur", ":2,FSa"},
	} {
		c.o.Time = when
		e := deliver(t, d, "x\n", c.o)
		if e.Sub != c.sub || e.Name != e.Key+c.suffix || e.Size != 2 || e.VSize != 3 {
			t.Errorf("%+v: got %+v", c.o, e)
		}
		if info, err := d.Stat(e); err != nil || !info.ModTime().Equal(when) {
			t.Errorf("%+v: time %v, %v", c.o, info.ModTime(), err)
		}
	}
	if _, err := d.Stage(strings.NewReader(""), StageOptions{Flags: "S,"}); err == nil {
		t.Error("a flag ',' was accepted")
	}
}

func TestStageReadErrorLeavesNothing(t *testing.T) {
	d, path := newDir(t)
	broken := errors.New("broken")
	_, err := d.Stage(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), StageOptions{})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if got := files(t, path, "tmp", "new", "cur"); len(got) != 0 {
		t.Errorf("files %q", got)
	}
}

func TestStageMakesMissingDirectories(t *testing.T) {
	d, path := newDir(t)
	for _, sub := range []string{"tmp", "new"} {
		if err := os.Remove(filepath.Join(path, sub)); err != nil {
			t.Fatal(err)
		}
	}
	deliver(t, d, "x", StageOptions{})
	if got := files(t, path, "new"); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}

func TestCommitNeverOverwrites(t *testing.T) {
	for _, way := range []string{"move", "link", "rename"} {
		d, path := newDir(t)
		d.ops = only(way)
		a, _ := d.Stage(strings.NewReader("first"), StageOptions{})
		b, err := d.Stage(strings.NewReader("second"), StageOptions{})
		if err != nil {
			t.Fatal(err)
		}
		taken := filepath.Join(path, filepath.FromSlash(b.Path()))
		if err := os.WriteFile(taken, []byte("somebody's mail"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Commit([]*Staged{a, b}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: error %v", way, err)
		}
		if got := files(t, path, "tmp", "new", "cur"); len(got) != 1 {
			t.Errorf("%s: files %q", way, got)
		}
		if text, _ := os.ReadFile(taken); string(text) != "somebody's mail" {
			t.Errorf("%s: the other file is now %q", way, text)
		}
	}
}

// only is a disk on which files can be given their names in one way.
func only(way string) *ops {
	o := realOps
	if way != "move" {
		o.move = func(*os.Root, string, string) error { return syscall.EINVAL }
	}
	if way == "rename" {
		o.link = func(*os.Root, string, string) error { return syscall.EPERM }
	}
	return &o
}

func TestCommitEachWay(t *testing.T) {
	for _, way := range []string{"move", "link", "rename"} {
		d, path := newDir(t)
		d.ops = only(way)
		e := deliver(t, d, "text", StageOptions{})
		if got := files(t, path, "tmp", "new", "cur"); !slices.Equal(got, []string{e.path()}) {
			t.Errorf("%s: files %q", way, got)
		}
	}
}

// A network file system may repeat a call whose answer got lost and tell of the second, which fails.
func TestCommitAnswerLost(t *testing.T) {
	for way, lost := range map[string]error{"move": fs.ErrNotExist, "link": fs.ErrExist, "rename": fs.ErrNotExist} {
		d, path := newDir(t)
		o := only(way)
		real := *o
		o.move = func(root *os.Root, old, new string) error { return cmp.Or(real.move(root, old, new), lost) }
		o.link = func(root *os.Root, old, new string) error { return cmp.Or(real.link(root, old, new), lost) }
		o.rename = func(root *os.Root, old, new string) error { return cmp.Or(real.rename(root, old, new), lost) }
		d.ops = o
		e := deliver(t, d, "text", StageOptions{})
		if got := files(t, path, "tmp", "new", "cur"); !slices.Equal(got, []string{e.path()}) {
			t.Errorf("%s: files %q", way, got)
		}
	}
}

func TestCommitTakesBackWhatAReaderMoved(t *testing.T) {
	d, path := newDir(t)
	a, _ := d.Stage(strings.NewReader("first"), StageOptions{})
	b, _ := d.Stage(strings.NewReader("second"), StageOptions{})
	faulty := realOps
	faulty.move = func(root *os.Root, old, new string) error {
		if new == b.dest {
			// Between the two a reader has taken the first to cur.
			if _, err := Open(root).MoveNew(a.Entry()); err != nil {
				t.Error(err)
			}
			return syscall.ENOSPC
		}
		return move(root, old, new)
	}
	d.ops = &faulty
	if err := Commit([]*Staged{a, b}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	if got := files(t, path, "tmp", "new", "cur"); len(got) != 0 {
		t.Errorf("files %q", got)
	}
}

func TestNothingLeadsOut(t *testing.T) {
	d, path := newDir(t)
	outside := t.TempDir()
	if err := os.Remove(filepath.Join(path, "new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(path, "new")); err != nil {
		t.Skip(err)
	}
	s, err := d.Stage(strings.NewReader("x"), StageOptions{})
	if err == nil {
		err = s.Commit()
	}
	if err == nil {
		t.Error("delivered through a link that leads out")
	}
	if list, _ := os.ReadDir(outside); len(list) != 0 {
		t.Errorf("files outside: %v", list)
	}
}

// A disk of which the call number failAt fails, and all later ones too when dead is set. It looks after every
// call whether what is visible is whole.
type faulty struct {
	calls, failAt int
	dead          bool
	links         bool // there is no move
	check         func(when string)
}

func (f *faulty) fails(what string) bool {
	f.check("before " + what)
	f.calls++
	return f.calls == f.failAt || f.dead && f.calls > f.failAt
}

func (f *faulty) ops() *ops {
	return &ops{
		create: func(root *os.Root, name string) (*os.File, error) {
			if f.fails("create") {
				return nil, syscall.EDQUOT
			}
			return realOps.create(root, name)
		},
		write: func(file *os.File, b []byte) (int, error) {
			if f.fails("write") {
				n, _ := file.Write(b[:len(b)/2])
				return n, syscall.ENOSPC
			}
			return file.Write(b)
		},
		sync: func(file *os.File) error {
			if f.fails("sync") {
				return syscall.EIO
			}
			return file.Sync()
		},
		close: func(file *os.File) error {
			err := file.Close()
			if f.fails("close") {
				return syscall.EDQUOT
			}
			return err
		},
		move: func(root *os.Root, old, new string) error {
			if f.links {
				return errors.ErrUnsupported
			}
			if f.fails("move") {
				return syscall.ENOSPC
			}
			return realOps.move(root, old, new)
		},
		link: func(root *os.Root, old, new string) error {
			if f.fails("link") {
				return syscall.ENOSPC
			}
			return root.Link(old, new)
		},
		rename: func(root *os.Root, old, new string) error {
			if f.fails("rename") {
				return syscall.EIO
			}
			return root.Rename(old, new)
		},
		remove: func(root *os.Root, name string) error {
			if f.fails("remove") {
				return syscall.EIO
			}
			return root.Remove(name)
		},
		syncDir: func(root *os.Root, name string) error {
			if f.fails("syncDir") {
				return syscall.EIO
			}
			return realOps.syncDir(root, name)
		},
	}
}

// Let each call fail in turn: a message is whole or not to be seen at every moment, what was acknowledged is there,
// and what was not is nowhere.
func TestEachCallFailsInTurn(t *testing.T) {
	text := strings.Repeat("a line of some length\n", 10_000)
	for n := range 4 {
		dead, links := n&1 != 0, n&2 != 0
		acknowledged := false
		for failAt := 1; !acknowledged; failAt++ {
			f := &faulty{failAt: failAt, dead: dead, links: links}
			a, pathA := newDir(t)
			b, pathB := newDir(t)
			check := func(when string) (n int) {
				for _, path := range []string{pathA, pathB} {
					for _, name := range files(t, path, "new", "cur") {
						n++
						got, err := os.ReadFile(filepath.Join(path, filepath.FromSlash(name)))
						if err != nil || string(got) != text {
							t.Fatalf("failure %d, %s: %d of %d bytes in %s: %v", failAt, when, len(got), len(text), name, err)
						}
					}
				}
				return n
			}
			f.check = func(when string) { check(when) }
			a.ops, b.ops = f.ops(), f.ops()
			err := deliverBoth(a, b, text)
			seen := check("at the end")
			failed := f.calls >= failAt
			switch {
			case err == nil && seen != 2:
				t.Fatalf("failure %d: acknowledged, but %d of 2 are there", failAt, seen)
			case err != nil && seen != 0 && !dead:
				t.Fatalf("failure %d: refused (%v), but %d are there", failAt, err, seen)
			case err != nil && !failed:
				t.Fatalf("failure %d: %v without a failure", failAt, err)
			case err != nil && !dead && len(files(t, pathA, "tmp"))+len(files(t, pathB, "tmp")) != 0:
				// One call fails, so that the clean-up works; only a failed clean-up may leave something.
				t.Fatalf("failure %d: %v, and files are left in tmp", failAt, err)
			}
			acknowledged = err == nil && !failed
			if failAt > 200 {
				t.Fatal("no end")
			}
		}
	}
}

func deliverBoth(a, b *Dir, text string) error {
	var all []*Staged
	for _, d := range []*Dir{a, b} {
		s, err := d.Stage(strings.NewReader(text), StageOptions{})
		if err != nil {
			for _, s := range all {
				s.Abort()
			}
			return err
		}
		all = append(all, s)
	}
	return Commit(all)
}

func FuzzSizes(f *testing.F) {
	f.Add([]byte("a\nb\r\nc\r"), uint8(1))
	f.Add([]byte("\r\n\n\r\r\n"), uint8(2))
	d, _ := newDir(f)
	f.Fuzz(func(t *testing.T, text []byte, chunk uint8) {
		r := &chunks{text, int(chunk)%8 + 1}
		s, err := d.Stage(r, StageOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
		e := s.Entry()
		crlf := strings.ReplaceAll(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n", "\r\n")
		if e.Size != int64(len(text)) || e.VSize != int64(len(crlf)) {
			t.Errorf("%q: S=%d W=%d, want %d %d", text, e.Size, e.VSize, len(text), len(crlf))
		}
		e.VSize = -1
		if n, err := d.VSize(e); err != nil || n != int64(len(crlf)) {
			t.Errorf("%q: VSize %d, %v", text, n, err)
		}
		if err := d.Remove(e); err != nil {
			t.Fatal(err)
		}
	})
}

// chunks reads n bytes at a time.
type chunks struct {
	b []byte
	n int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.n)], c.b)
	c.b = c.b[n:]
	return n, nil
}
