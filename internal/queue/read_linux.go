package queue

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// readFile reads a file in dir, up to one byte more than most, into buf where it fits. In a queue of 100,000 entries what os
// does beside reading, to make a file that could be waited for, is most of the time.
func readFile(dir *os.File, name string, buf []byte, most int) (text []byte, err error) {
	at, err := dir.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := at.Control(func(fd uintptr) { text, err = readAt(int(fd), name, buf, most) })
	if err == nil {
		err = cerr
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: filepath.Join(dir.Name(), name), Err: err}
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

// fileSize is the size of a file in dir.
func fileSize(dir *os.File, name string) (int64, error) {
	at, err := dir.SyscallConn()
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	cerr := at.Control(func(fd uintptr) {
		_, err = again(func() (int, error) { return 0, unix.Fstatat(int(fd), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	})
	if err == nil {
		err = cerr
	}
	if err != nil {
		return 0, &fs.PathError{Op: "stat", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return st.Size, nil
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
