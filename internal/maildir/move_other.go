//go:build !linux

package maildir

import (
	"errors"
	"os"
)

// move is not to be had on this system.
func move(*os.Root, string, string) error { return errors.ErrUnsupported }

// identify cannot tell directories apart on this system.
func identify(*os.Root, string) (dirID, bool) { return dirID{}, false }
