package delivery

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile tries to take an exclusive lock that belongs to the open file (fcntl(2), F_OFD_SETLK): it excludes the
// fcntl locks of other programs, and also other deliveries of this process.
func lockFile(f *os.File) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}
