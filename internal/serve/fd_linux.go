package serve

import (
	"fmt"
	"os"
)

// reopen opens what f is anew, with a mode and an offset of its own.
func reopen(f *os.File, flag int) (*os.File, error) {
	var path string
	err := control(f, func(fd int) error {
		path = fmt.Sprintf("/proc/self/fd/%d", fd)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, flag, 0)
}
