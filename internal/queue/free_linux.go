package queue

import (
	"os"

	"golang.org/x/sys/unix"
)

// freeBytes is what a user who is not root can still write; ok is false when that is not known.
func freeBytes(root *os.Root) (free int64, ok bool) {
	f, err := root.Open(".")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}
