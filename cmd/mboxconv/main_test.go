package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"pennypost/internal/maildir"
	"pennypost/internal/mailtest"
)

func TestMain(m *testing.M) { mailtest.Main(m) }

func TestScripts(t *testing.T) { mailtest.Scripts(t, "testdata/script", "mboxconv") }

// convertBoxes runs the program's own code in this process.
func convertBoxes(t *testing.T, from, to string, flags ...string) error {
	t.Helper()
	cmd := newCommand()
	cmd.SetArgs(append(flags, from, to))
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cmd.ExecuteContext(t.Context())
}

var odd = []struct {
	name, text string
}{
	{"new/1000.M1P1.h", "Return-Path: <a@b>\nSubject: plain\n\nFrom here\n>From there\n"},
	{"new/1001.M1P1.h", ""},
	{"cur/1002.M1P1.h:2,", "Subject: no final newline\n\ntext"},
	{"cur/1003.M1P1.h:2,DFPRSTabz", "Status: RO\nX-Status: A\nSubject: had them\n\n\n\n"},
	{"cur/1004.M1P1.h:2,S", "Subject: CRLF\r\n\r\nFrom x\r\n"},
	{"cur/1005.M1P1.h:2,F", "Subject: 8-bit \xe9\x00\n\n\xff\r\r\n"},
	{"new/1006.M1P1.h", "no header\n\nFrom a@b Tue Nov 24 05:40:20 2026\n"},
	{"cur/1007.M1P1.h:2,", " starts with a blank\nStatus: RO\n"},
	{"cur/1008.M1P1.h:2,T", "\n"},
	{"new/1009.M1P1.h", "Subject: the last\nStatus: O\n\n\r"},
}

func newMaildir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range odd {
		path := filepath.Join(dir, m.name)
		if err := os.WriteFile(path, []byte(m.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Unix(int64(1e9+i*1e7), 0)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inventory is all that a Maildir tells of its messages, in order.
func inventory(t *testing.T, path string) (out []string) {
	t.Helper()
	d, err := maildir.OpenPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	entries, err := d.Scan()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(path, e.Sub, e.Name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(path, e.Sub, e.Name))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %q %d %q", e.Sub, e.Flags, info.ModTime().Unix(), b))
	}
	return out
}

// A Maildir that goes through an mbox and comes back has the same messages, flags and dates in the same order.
func TestRoundTrip(t *testing.T) {
	from := newMaildir(t)
	dir := t.TempDir()
	box, to := "mbox:"+filepath.Join(dir, "box"), filepath.Join(dir, "Maildir")
	if err := convertBoxes(t, "maildir:"+from, box); err != nil {
		t.Fatal(err)
	}
	if err := convertBoxes(t, box, "maildir:"+to); err != nil {
		t.Fatal(err)
	}
	want, got := inventory(t, from), inventory(t, to)
	if len(got) != len(want) {
		t.Fatalf("got %d messages, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	// And the mbox of the copy is the mbox of the first.
	again := filepath.Join(dir, "again")
	if err := convertBoxes(t, "maildir:"+to, "mbox:"+again); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(filepath.Join(dir, "box"))
	b, _ := os.ReadFile(again)
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Errorf("got %q, want %q", b, a)
	}
}

func TestMaildirToMaildir(t *testing.T) {
	from, to := newMaildir(t), filepath.Join(t.TempDir(), "M")
	if err := convertBoxes(t, "maildir:"+from, "maildir:"+to); err != nil {
		t.Fatal(err)
	}
	want, got := inventory(t, from), inventory(t, to)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An mbox is copied byte for byte, odd ends included.
func TestMboxToMbox(t *testing.T) {
	const from = "From a@b  Tue Nov 24 05:40:20 2026 remark\n"
	for _, text := range []string{"", from + "a\n\n", from + "a\n\n" + from + ">From x\n>>From \n\n", strings.ReplaceAll(from+"a\n\n"+from+"\n", "\n", "\r\n"), from + "cut", from} {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		if err := os.WriteFile(a, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := convertBoxes(t, "mbox:"+a, "mboxrd:"+b); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(b); string(got) != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

// full fails like a disk that is full after some bytes.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestFullDisk(t *testing.T) {
	from := newMaildir(t)
	for _, room := range []int{0, 100, 500} {
		cmd := newCommand()
		cmd.SetArgs([]string{"maildir:" + from, "mbox:-"})
		cmd.SetOut(&full{room})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("room for %d bytes: got %v, want ENOSPC", room, err)
		}
	}
}

// failAt puts messages until one fails, as a source that breaks in the middle does.
type failAt struct {
	source
	left int
}

func (f *failAt) next() (*item, error) {
	if f.left--; f.left < 0 {
		return nil, syscall.EIO
	}
	return f.source.next()
}

// Whatever message the source breaks at, nothing appears at DEST.
func TestBrokenSource(t *testing.T) {
	from := newMaildir(t)
	for _, to := range []location{{path: "box"}, {path: "Maildir", maildir: true}} {
		for n := range len(odd) {
			dir := t.TempDir()
			to := to
			to.path = filepath.Join(dir, to.path)
			in, err := openSource(location{path: from, maildir: true}, options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := openDest(to, options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			broken := &failAt{in, n}
			first, err := broken.next()
			if err == nil {
				err = convert(t.Context(), broken, out, first, &tally{})
			}
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("broken at %d: got %v", n, err)
			}
			if err := out.abort(); err != nil {
				t.Error(err)
			}
			in.close()
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("broken at %d: %v is left", n, left)
			}
		}
	}
}

// An mbox that grows while it is read, as one in use may, is no mailbox to rely on.
func TestSourceThatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	const text = "From a@b Tue Nov 24 05:40:20 2026\na\n\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := openSource(location{path: path}, options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	if err := os.WriteFile(path, []byte(text+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := in.check(); err == nil {
		t.Error("got no error")
	}
}

// Killed or stopped at any time, the program leaves no DEST; when it was asked to stop, it leaves nothing at all.
func TestKilled(t *testing.T) {
	bin := filepath.Join(mailtest.Build(t, "mboxconv"), "mboxconv")
	for _, dest := range []string{"mbox:box", "maildir:Maildir"} {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			dir := t.TempDir()
			cmd := exec.Command(bin, "mbox:-", dest)
			cmd.Dir = dir
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// More than pipe and buffers hold: the first messages are being written by then.
			if _, err := io.WriteString(in, strings.Repeat("From a@b Tue Nov 24 05:40:20 2026\n"+strings.Repeat("text\n", 400)+"\n", 100)); err != nil {
				t.Fatal(err)
			}
			cmd.Process.Signal(sig) // the input stays open
			cmd.Wait()
			if _, err := os.Stat(filepath.Join(dir, "box")); err == nil {
				t.Error("there is a file box")
			}
			for _, sub := range []string{"cur", "new"} {
				if found, _ := filepath.Glob(filepath.Join(dir, "Maildir", sub, "*")); len(found) != 0 {
					t.Errorf("there are messages in %s: %v", sub, found)
				}
			}
			if sig == syscall.SIGKILL {
				continue
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 || cmd.ProcessState.ExitCode() != 75 {
				t.Errorf("%s: exit status %d and %v left, want 75 and nothing", dest, cmd.ProcessState.ExitCode(), left)
			}
		}
	}
}

// Bytes and errors come through in order whatever the sizes of the reads.
func TestStoppable(t *testing.T) {
	bad := errors.New("bad")
	r := newStoppable(t.Context(), iotest.DataErrReader(io.MultiReader(strings.NewReader("some text"), iotest.ErrReader(bad))))
	var got []byte
	p := make([]byte, 2)
	for {
		n, err := r.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			if !errors.Is(err, bad) || string(got) != "some text" {
				t.Errorf("got %q, %v", got, err)
			}
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	never, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer never.Close()
	defer w.Close()
	cancel()
	if _, err := newStoppable(ctx, never).Read(p); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: got %v", err)
	}
}
