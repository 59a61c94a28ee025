//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// nonblock keeps the open of a FIFO that stands in a file's place from waiting.
const nonblock = syscall.O_NONBLOCK

// owner is the user id a file belongs to, -1 when it is not known.
func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
