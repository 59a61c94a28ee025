//go:build !linux

package serve

import (
	"errors"
	"time"

	"pennypost/internal/status"
)

// share needs locks that belong to open files.
type share struct{}

func openShare(string) (*share, error) {
	return nil, status.Errorf(status.Config, "limits shared by processes: %w", errors.ErrUnsupported)
}

func (*share) close() {}

func (*share) enter(peerKeys, int, int) (func(), string, error) {
	return nil, "", errors.ErrUnsupported
}

func (*share) rate(peerKeys, int, time.Time) (bool, error) { return false, errors.ErrUnsupported }
