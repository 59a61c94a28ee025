//go:build !linux

package postoffice

import (
	"errors"
	"os"
	"syscall"
)

// inheritOwner leaves the file to who made it.
func inheritOwner(*os.Root, string, string) {}

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
