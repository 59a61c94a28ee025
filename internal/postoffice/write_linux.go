package postoffice

import (
	"errors"
	"os"
	"syscall"
)

// inheritOwner gives a file that root makes to the owner of the directory, so that the programs that serve
// the office can read it. Who is not root cannot and need not.
func inheritOwner(root *os.Root, name, dir string) {
	if os.Geteuid() != 0 {
		return
	}
	if info, err := root.Stat(dir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			root.Chown(name, int(st.Uid), int(st.Gid))
		}
	}
}

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
