//go:build !linux

package message

import (
	"errors"
	"os"
)

// reopen has no way to open an unlinked file again here.
func reopen(*os.File, int64) (*os.File, error) { return nil, errors.ErrUnsupported }
