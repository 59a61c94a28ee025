package queue

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// mailDir is the open directory mail; folder is one below it, of entries. In a queue of 100,000 entries what package os does
// beside reading, to make files that could be waited for, is most of the time.
type mailDir struct{ f *os.File }

type folder struct {
	fd   int
	name string // HH
	path string
}

func openMail(root *os.Root) (*mailDir, error) {
	f, err := root.Open(dirMail)
	if err != nil {
		return nil, err
	}
	return &mailDir{f}, nil
}

func (m *mailDir) close() { m.f.Close() }

func (m *mailDir) names() ([]string, error) { return m.f.Readdirnames(-1) }

func (m *mailDir) folder(name string) (*folder, error) {
	path := filepath.Join(m.f.Name(), name)
	fd, err := again(func() (int, error) {
		return unix.Openat(int(m.f.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &folder{fd, name, path}, nil
}

func (d *folder) close() { unix.Close(d.fd) }

// names are those of all envelopes and messages, read through buf.
func (d *folder) names(buf []byte) (all []string, err error) {
	for {
		n, err := again(func() (int, error) { return unix.ReadDirent(d.fd, buf) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: d.path, Err: err}
		}
		if n <= 0 {
			return all, nil
		}
		all = slices.Grow(all, n/direntSize)
		for rest := buf[:n]; len(rest) > nameAt; {
			size := int(binary.NativeEndian.Uint16(rest[lengthAt:]))
			name, _, _ := bytes.Cut(rest[nameAt:size], []byte{0})
			if isEntry(name) {
				all = append(all, string(name))
			}
			rest = rest[size:]
		}
	}
}

// Where in what getdents64(2) gives of a file its length and the name are, and how long it is for a file of ours.
const (
	lengthAt   = 16
	nameAt     = 19
	direntSize = 40
)

// read reads a file, up to one byte more than most, into buf where it fits.
func (d *folder) read(name string, buf []byte, most int) ([]byte, error) {
	text, err := readAt(d.fd, name, buf, most)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: filepath.Join(d.path, name), Err: err}
	}
	return text, nil
}

func readAt(dir int, name string, buf []byte, most int) ([]byte, error) {
	fd, err := again(func() (int, error) { return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text := buf[:0]
	for len(text) <= most {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		room := text[len(text):min(cap(text), most+1)]
		n, err := again(func() (int, error) { return unix.Read(fd, room) })
		if err != nil {
			return nil, err
		}
		text = text[:len(text)+n]
		if n < len(room) { // it is a file: the rest comes later, if ever
			break
		}
	}
	return text, nil
}

// stat is a file's size and time.
func (d *folder) stat(name string) (size int64, modified time.Time, err error) {
	var st unix.Stat_t
	_, err = again(func() (int, error) { return 0, unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return 0, modified, &fs.PathError{Op: "stat", Path: filepath.Join(d.path, name), Err: err}
	}
	return st.Size, time.Unix(st.Mtim.Unix()), nil
}

// maxOpen is how many files this process may have open.
func maxOpen() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 256
	}
	return int(min(limit.Cur, 1<<20))
}

// again makes a call that a signal interrupted once more.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
