package postoffice

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"pennypost/internal/status"
)

const (
	defaultMaildir  = "Maildir"
	maxInstructions = 64 << 10 // bytes of a .qmail file
)

// Maildirs says where a delivery to the mailbox goes: paths of Maildirs below Home, by the instructions
// of dot-qmail(5) that this version knows. Without a file, or with an empty one, that is Maildir; with
// lines of the form ./NAME/ it is those; a file of nothing but comments throws mail away, and the list
// is empty. Any other instruction is a temporary error that names file and line: mail waits rather than
// being delivered where its owner did not want it.
func (m *Mailbox) Maildirs() ([]string, error) {
	for _, name := range m.files() {
		at, err := resolve(m.root, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		dirs, err := readInstructions(m.root, at)
		if err != nil {
			e := *status.Of(err)
			e.Text = m.path + ": " + e.Text
			return nil, &e
		}
		return dirs, nil
	}
	return []string{defaultMaildir}, nil
}

// files lists the names of the instruction files for this delivery, first to be tried first. With '-' one of
// the extension's exists, or Lookup had refused; otherwise the mailbox's own comes last.
func (m *Mailbox) files() []string {
	switch m.sep {
	case 0:
		return []string{".qmail"}
	case '-':
		return extensionFiles(m.Ext)
	}
	return append(extensionFiles(m.Ext), ".qmail")
}

// extensionFiles are .qmail-a-b, .qmail-a-default and .qmail-default for a-b; dots are written as colons
// (dot-qmail(5)).
func extensionFiles(ext string) []string {
	ext = strings.ReplaceAll(ext, ".", ":")
	files := []string{".qmail-" + ext}
	for i := len(ext) - 1; i >= 0; i-- {
		if ext[i] == '-' {
			files = append(files, ".qmail-"+ext[:i]+"-default")
		}
	}
	return append(files, ".qmail-default")
}

// hasExtension tells whether the mailbox has instructions for its extension. A file that cannot be looked
// at counts: Maildirs will then say what is wrong.
func (m *Mailbox) hasExtension() bool {
	for _, name := range extensionFiles(m.Ext) {
		if _, err := m.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// readInstructions reads a .qmail file and returns its Maildirs as clean paths relative to the file.
func readInstructions(root *os.Root, name string) ([]string, error) {
	if info, err := root.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, status.Errorf(status.Config, "%q is not a regular file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, status.Errorf(status.Config, "read %q: %w", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxInstructions+1))
	if err != nil {
		return nil, status.Errorf(status.Config, "read %q: %w", name, err)
	}
	if len(text) > maxInstructions {
		return nil, status.Errorf(status.Config, "%q is longer than %d bytes", name, maxInstructions)
	}
	return parseInstructions(name, string(text))
}

// parseInstructions reads the text of a .qmail file; name is for the error.
func parseInstructions(name, text string) ([]string, error) {
	if text == "" {
		return []string{defaultMaildir}, nil
	}
	var dirs []string
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		switch {
		case line == "" && i == 0:
			return nil, status.Errorf(status.Config, "%q: the first line is blank", name)
		case line == "" || line[0] == '#':
			continue
		}
		dir := path.Clean(line)
		if !strings.HasPrefix(line, "./") || !strings.HasSuffix(line, "/") || dir == "." || dir == ".." ||
			strings.HasPrefix(dir, "../") || strings.ContainsRune(line, 0) {
			return nil, status.Errorf(status.Config,
				"%q line %d: instruction %q: only Maildirs (./NAME/) are supported by this version", name, i+1, status.Escape(line, 80))
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}
