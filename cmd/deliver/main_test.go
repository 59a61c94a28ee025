package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"pennypost/internal/mailtest"
)

// newOffice makes an office with alice@example.org in it.
func newOffice(t *testing.T) (dir, box string) {
	t.Helper()
	dir = t.TempDir()
	box = filepath.Join(dir, "example.org", "alice")
	if err := os.MkdirAll(box, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, box
}

// messages returns the contents of the files in new.
func messages(t *testing.T, box string) [][]byte {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(box, "Maildir", "new", "*"))
	var all [][]byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// A program that is killed while it reads leaves nothing that looks like mail.
func TestKilledWhileReading(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			bin := mailtest.Build(t, "deliver")
			dir, box := newOffice(t)
			cmd := exec.Command(filepath.Join(bin, "deliver"), "--office", dir, "alice@example.org")
			cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// More than the pipe holds: when the write returns the program is reading.
			if _, err := stdin.Write(bytes.Repeat([]byte("0123456789\n"), 1<<20/11)); err != nil {
				t.Fatal(err)
			}
			cmd.Process.Signal(sig)
			err = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); sig == syscall.SIGTERM && code != 75 || err == nil {
				t.Errorf("exit status %d, %v", code, err)
			}
			if got := messages(t, box); len(got) != 0 {
				t.Errorf("%d messages in new", len(got))
			}
		})
	}
}

// The bytes on stdin stand unchanged below the two lines that are added.
func TestBytesStayUnchanged(t *testing.T) {
	big := append([]byte("Subject: big\n\n"), bytes.Repeat([]byte("a line of an attachment, coded somehow and rather long\n"), 20<<20/55)...)
	cases := map[string][]byte{
		"nothing at all":     {},
		"no header":          []byte("just text\nand more\n"),
		"8-bit header":       []byte("Subject: caf\xe9 \xff\n\nbody\n"),
		"CRLF":               []byte("Subject: x\r\n\r\nbody\r\n"),
		"NUL and bare CR":    []byte("Subject: x\n\na\x00b\rc\n"),
		"no final newline":   []byte("Subject: x\n\nend"),
		"From_ line in body": []byte("Subject: x\n\nFrom here\n>From there\n"),
		"20 MB":              big,
		"header without end": bytes.Repeat([]byte("X: y\n"), 300_000),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			for _, seekable := range []bool{true, false} {
				dir, box := newOffice(t)
				program, env := comparing(t, dir)
				cmd := exec.Command(program, "--office", dir, "-f", "bob@example.net", "alice@example.org")
				cmd.Env, cmd.Stdin = env, io.MultiReader(bytes.NewReader(text))
				if seekable {
					file := filepath.Join(t.TempDir(), "message")
					if err := os.WriteFile(file, text, 0o600); err != nil {
						t.Fatal(err)
					}
					f, err := os.Open(file)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					cmd.Stdin = f
				}
				if out, err := cmd.CombinedOutput(); err != nil || len(out) != 0 {
					t.Fatalf("%v: %s", err, out)
				}
				got := messages(t, box)
				want := append([]byte("Return-Path: <bob@example.net>\nDelivered-To: alice@example.org\n"), text...)
				if len(got) != 1 || !bytes.Equal(got[0], want) {
					t.Errorf("seekable %v: %d messages, equal is false", seekable, len(got))
				}
			}
		})
	}
}
