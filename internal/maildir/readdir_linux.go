package maildir

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// readDir calls f for each entry of dir until it returns false. The type is fs.ModeIrregular where the file
// system does not tell it. It asks the kernel itself (getdents64(2)), since a directory opened through os.Root
// is read by os with one lstat an entry, which takes most of the time in a large folder.
func readDir(dir *os.File, f func(name string, mode fs.FileMode) bool) error {
	raw, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n := 0
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			for {
				n, rerr = syscall.ReadDirent(int(fd), buf)
				if rerr != syscall.EINTR {
					return true
				}
			}
		})
		if err == nil {
			err = rerr
		}
		if err != nil {
			return &fs.PathError{Op: "readdir", Path: dir.Name(), Err: err}
		}
		if n <= 0 {
			return nil
		}
		if more, err := eachDirent(buf[:n], f); err != nil || !more {
			return err
		}
	}
}

// eachDirent reads the records of struct linux_dirent64: inode and offset of 8 bytes, length of 2, type of 1, name with
// a NUL behind it.
func eachDirent(b []byte, f func(name string, mode fs.FileMode) bool) (more bool, err error) {
	const head = 8 + 8 + 2 + 1
	for len(b) > 0 {
		if len(b) < head {
			return false, fmt.Errorf("directory record of %d bytes", len(b))
		}
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size < head || size > len(b) {
			return false, fmt.Errorf("directory record of %d bytes where %d are left", size, len(b))
		}
		name, _, _ := bytes.Cut(b[head:size], []byte{0})
		kind := b[18]
		inode := binary.NativeEndian.Uint64(b)
		b = b[size:]
		if inode == 0 || string(name) == "." || string(name) == ".." {
			continue
		}
		if !f(string(name), direntMode(kind)) {
			return false, nil
		}
	}
	return true, nil
}

func direntMode(kind byte) fs.FileMode {
	switch kind {
	case syscall.DT_REG:
		return 0
	case syscall.DT_DIR:
		return fs.ModeDir
	case syscall.DT_UNKNOWN:
		return fs.ModeIrregular
	}
	return fs.ModeDevice // whatever it is, it is no file
}
