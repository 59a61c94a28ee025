package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pennypost/internal/mailtest"
)

// givesEverything are the instructions of a home, in which pre and Old were there before, open to all.
const givesEverything = "./Maildir/\n./Maildir/.Copies/\n./box\n./pre\n./Old/\n&carol@example.net\n"

// What a delivery makes is closed to everybody but its owner, whatever the umask of the caller lets through, and what was there
// keeps its mode.
func TestModes(t *testing.T) {
	bin := mailtest.Build(t, "deliver")
	for _, umask := range []string{"000", "022"} {
		for name, who := range map[string]struct{ caller, owner int }{
			"a user":              {12345, 12345},
			"root for a user":     {0, 12345},
			"root for himself":    {0, 0},
			"whoever runs a test": {os.Getuid(), os.Getuid()},
		} {
			if os.Getuid() != 0 && who.caller != os.Getuid() {
				continue
			}
			t.Run(name+" "+umask, func(t *testing.T) {
				home := mailtest.Passable(t)
				before := openHome(t, home, who.owner)
				for _, args := range []string{
					"--vacation away --quota 50M --flags F --keyword work",
					"--folder New --quota 40M",
					"--if Subject~x --to mh:mh --to mh:Old",
				} {
					deliverUnder(t, filepath.Join(bin, "deliver"), home, umask, who.caller, strings.Fields(args)...)
				}
				made := checkModes(t, home, before)
				for _, want := range []string{"Maildir/maildirsize", "Maildir/dovecot-keywords", "Maildir/.New/maildirfolder", "box", "mh/1", ".vacation"} {
					if !made["example.org/alice/"+want] {
						t.Errorf("%s is not among what was made", want)
					}
				}
				if !made["queue/mail"] || (who.owner != 0) != made["example.org/alice/by-command"] {
					t.Error("nothing in the queue, or by the command")
				}
			})
		}
	}
}

// openHome makes an office whose mailbox has a file and a Maildir open to its group and, but for the mbox, to all for reading. It
// returns the modes.
func openHome(t *testing.T, dir string, owner int) map[string]fs.FileMode {
	t.Helper()
	box := filepath.Join(dir, "example.org", "alice")
	for _, d := range []string{"", "Old", "Old/tmp", "Old/new", "Old/cur", "../../queue"} {
		if err := os.MkdirAll(filepath.Join(box, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := givesEverything
	if owner != 0 {
		text = "|cat >by-command; mkdir by-command.d\n" + text
	}
	for name, text := range map[string]string{".qmail": text, "pre": "From a@b Thu Jan  1 00:00:00 1970\n\n", "../../away": "away\n"} {
		if err := os.WriteFile(filepath.Join(box, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(box, "pre"), 0o664); err != nil {
		t.Fatal(err)
	}
	modes := make(map[string]fs.FileMode)
	walk(t, dir, func(name string, info fs.FileInfo) {
		modes[name] = info.Mode()
		if err := os.Chown(filepath.Join(dir, name), owner, -1); err != nil {
			t.Fatal(err)
		}
	})
	return modes
}

func walk(t *testing.T, dir string, each func(name string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && path != dir {
			each(strings.TrimPrefix(path, dir+"/"), info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// deliverUnder runs deliver with a umask, as the user.
func deliverUnder(t *testing.T, deliver, dir, umask string, uid int, args ...string) {
	t.Helper()
	words := append([]string{"-c", "umask " + umask + `; exec "$0" "$@"`, deliver, "--office", ".", "-f", "bob@example.net"}, args...)
	cmd := exec.Command("/bin/sh", append(words, "alice@example.org")...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader("To: alice@example.org\nSubject: x\n\ntext\n")
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("deliver %q: %v: %s", args, err, out)
	}
}

// checkModes returns the names of what was made.
func checkModes(t *testing.T, dir string, before map[string]fs.FileMode) map[string]bool {
	t.Helper()
	made := make(map[string]bool)
	walk(t, dir, func(name string, info fs.FileInfo) {
		old, known := before[name]
		switch {
		case known && info.Mode() != old:
			t.Errorf("%s had mode %v and has %v", name, old, info.Mode())
		case !known && info.Mode().Perm()&0o077 != 0:
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		made[name] = !known
	})
	return made
}
