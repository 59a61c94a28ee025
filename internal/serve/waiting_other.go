//go:build !unix

package serve

import "syscall"

// readable cannot be known here.
func readable(syscall.Conn) bool { return false }
