package maildir

import (
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// move renames a file between two directories below root and fails with EEXIST when there is one of the new name: one
// change of the disk instead of a link and a removal. EINVAL and ENOSYS mean that it cannot be done here.
func move(root *os.Root, old, new string) error {
	from, err := open(root, path.Dir(old))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := open(root, path.Dir(new))
	if err != nil {
		return err
	}
	defer to.Close()
	err = unix.Renameat2(int(from.Fd()), path.Base(old), int(to.Fd()), path.Base(new), unix.RENAME_NOREPLACE)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: old, New: new, Err: err}
	}
	return nil
}

// identify tells a directory below root apart from all others.
func identify(root *os.Root, name string) (dirID, bool) {
	info, err := root.Stat(name)
	if err != nil {
		return dirID{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return dirID{}, false
	}
	return dirID{uint64(st.Dev), st.Ino}, true
}
