//go:build !linux

package queue

import (
	"io"
	"os"
	"slices"
	"time"
)

// mailDir is the open directory mail; folder is one below it, of entries.
type mailDir struct{ root *os.Root }

type folder struct {
	root *os.Root
	name string // HH
}

func openMail(root *os.Root) (*mailDir, error) {
	dir, err := root.OpenRoot(dirMail)
	if err != nil {
		return nil, err
	}
	return &mailDir{dir}, nil
}

func (m *mailDir) close() { m.root.Close() }

func (m *mailDir) names() ([]string, error) { return listed(m.root) }

func listed(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (m *mailDir) folder(name string) (*folder, error) {
	dir, err := m.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &folder{dir, name}, nil
}

func (d *folder) close() { d.root.Close() }

// names are those of all envelopes and messages.
func (d *folder) names([]byte) ([]string, error) {
	all, err := listed(d.root)
	return slices.DeleteFunc(all, func(name string) bool { return !isEntry([]byte(name)) }), err
}

// read reads a file, up to one byte more than most.
func (d *folder) read(name string, _ []byte, most int) ([]byte, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(most)+1))
}

// stat is a file's size and time.
func (d *folder) stat(name string) (size int64, modified time.Time, err error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return 0, modified, err
	}
	return info.Size(), info.ModTime(), nil
}

// maxOpen is how many files this process may have open, at least.
func maxOpen() int { return 256 }
