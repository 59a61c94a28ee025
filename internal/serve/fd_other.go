//go:build unix && !linux

package serve

import (
	"errors"
	"os"
)

// reopen is not possible: elsewhere /dev/fd/N is a copy that shares its mode with the original.
func reopen(*os.File, int) (*os.File, error) { return nil, errors.ErrUnsupported }
