//go:build unix

package queue

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock that belongs to the open file and ends with it.
func lockFile(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
