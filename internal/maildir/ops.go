package maildir

import (
	"os"
	"syscall"
)

// ops are the calls to the system that change the disk. Tests put others in their place to let each
// fail in turn.
type ops struct {
	create  func(root *os.Root, name string) (*os.File, error)
	write   func(f *os.File, b []byte) (int, error)
	sync    func(f *os.File) error
	close   func(f *os.File) error
	move    func(root *os.Root, old, new string) error // a rename that fails when new is there; may be unsupported
	link    func(root *os.Root, old, new string) error
	rename  func(root *os.Root, old, new string) error
	remove  func(root *os.Root, name string) error
	syncDir func(root *os.Root, name string) error
}

var realOps = ops{
	create: func(root *os.Root, name string) (*os.File, error) {
		return root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noWait, 0o600)
	},
	write:   (*os.File).Write,
	sync:    (*os.File).Sync,
	close:   (*os.File).Close,
	move:    move,
	link:    (*os.Root).Link,
	rename:  (*os.Root).Rename,
	remove:  (*os.Root).Remove,
	syncDir: syncDir,
}

// noWait opens a file or directory without the four calls by which os else tries whether it is one that can be waited for; for
// those it changes nothing. A FIFO in the place of a message opens at once too.
const noWait = syscall.O_NONBLOCK

// open opens a file or directory below root for reading.
func open(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|noWait, 0)
}

// syncDir makes the names in a directory durable.
func syncDir(root *os.Root, name string) error {
	f, err := open(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
