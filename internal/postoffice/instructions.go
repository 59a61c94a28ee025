package postoffice

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"pennypost/internal/status"
)

const (
	defaultMaildir  = "Maildir"
	maxInstructions = 64 << 10 // bytes of a .qmail or .forward file
	catchAllFile    = ".qmail-default"
)

// Instructions are the text of the file in a mailbox that says where its mail goes.
type Instructions struct {
	Name    string // ".qmail-lists-default", or "" when the mailbox has none
	Path    string // the same for people: "example.org/alice/.qmail-lists-default"
	Text    string
	Exec    bool   // the owner may execute the file: dot-qmail(5) allows it forwards only
	Forward bool   // it is a .forward
	Default string // what "default" in the name stands for
}

// Instructions reads the file for this delivery: the first there is of those of dot-qmail(5) for the address, and where
// the mailbox itself is meant and has none, its .forward. Without any Name is "", which means the Maildir.
//
// A file that others may write to, a home that others may write to, a home with the sticky bit (its owner is at work in
// it, qmail-local(8)) and a file that cannot be read are temporary errors: mail waits rather than go where its owner did
// not want it.
func (m *Mailbox) Instructions() (Instructions, error) {
	if err := m.checkHome(); err != nil {
		return Instructions{}, err
	}
	for _, c := range m.candidates() {
		at, _, err := resolve(m.root, "", c.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			c.Path = path.Join(m.path, c.Name)
			err = c.read(m.root, at)
		}
		if err != nil {
			e := *status.Of(err)
			e.Text = m.path + ": " + e.Text
			return Instructions{}, &e
		}
		return c, nil
	}
	return Instructions{}, nil
}

// Has tells whether the mailbox has a file of that name; one that cannot be looked at counts.
func (m *Mailbox) Has(name string) bool {
	_, err := m.root.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// checkHome refuses a home that is not its owner's alone, or that he has put on hold.
func (m *Mailbox) checkHome() error {
	info, err := m.root.Stat(".")
	switch {
	case err != nil:
		return status.Errorf(status.Config, "look at %q: %w", m.path, err)
	case info.Mode().Perm()&0o002 != 0:
		return status.Errorf(status.Config, "%q may be written to by everybody: chmod o-w it", m.path)
	case info.Mode()&fs.ModeSticky != 0:
		return status.Errorf(status.TempFail, "%q has the sticky bit: its mail is on hold until chmod -t", m.path)
	}
	return nil
}

// candidates are the files for this delivery, first to be tried first. With '-' one of the extension's exists, or Lookup
// had refused; otherwise the mailbox's own come last.
func (m *Mailbox) candidates() []Instructions {
	own := []Instructions{{Name: ".qmail"}, {Name: ".forward", Forward: true}}
	switch m.sep {
	case 0:
		return own
	case '-':
		return extensionFiles(m.Ext)
	case '@':
		return []Instructions{{Name: catchAllFile, Default: m.Ext}}
	}
	return append(extensionFiles(m.Ext), own...)
}

// extensionFiles are .qmail-a-b, .qmail-a-default and .qmail-default for a-b; dots are written as colons
// (dot-qmail(5)).
func extensionFiles(ext string) []Instructions {
	file := strings.ReplaceAll(ext, ".", ":")
	files := []Instructions{{Name: ".qmail-" + file}}
	for i := len(ext) - 1; i >= 0; i-- {
		if ext[i] == '-' {
			files = append(files, Instructions{Name: ".qmail-" + file[:i] + "-default", Default: ext[i+1:]})
		}
	}
	return append(files, Instructions{Name: ".qmail-default", Default: ext})
}

// hasExtension tells whether the mailbox has instructions for its extension.
func (m *Mailbox) hasExtension() bool {
	for _, c := range extensionFiles(m.Ext) {
		if m.Has(c.Name) {
			return true
		}
	}
	return false
}

// read fills in what the file at, below root, says.
func (i *Instructions) read(root *os.Root, at string) error {
	f, err := root.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hold up what waits for it
	if err != nil {
		return status.Errorf(status.Config, "read %q: %w", i.Name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return status.Errorf(status.Config, "read %q: %w", i.Name, err)
	case !info.Mode().IsRegular():
		return status.Errorf(status.Config, "%q is not a regular file", i.Name)
	case info.Mode().Perm()&0o002 != 0:
		return status.Errorf(status.Config, "%q may be written to by everybody: chmod o-w it", i.Name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxInstructions+1))
	if err != nil {
		return status.Errorf(status.Config, "read %q: %w", i.Name, err)
	}
	if len(text) > maxInstructions {
		return status.Errorf(status.Config, "%q is longer than %d bytes", i.Name, maxInstructions)
	}
	i.Text, i.Exec = string(text), info.Mode().Perm()&0o100 != 0
	return nil
}

// catchAllUser is the mailbox that a domain's .qmail-default names by the one line ./USER/Maildir/, "" when it says
// something else.
func catchAllUser(text string) string {
	user, ok := strings.CutSuffix(strings.TrimRight(text, " \t\r\n"), "/Maildir/")
	if !ok || !strings.HasPrefix(user, "./") {
		return ""
	}
	if user = path.Clean(user); strings.ContainsAny(user, "/\n") {
		return ""
	}
	return user
}
