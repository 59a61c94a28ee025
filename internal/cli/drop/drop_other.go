//go:build !linux

package drop

import (
	"errors"

	"pennypost/internal/status"
)

// confine can give up nothing here.
func (d *Options) confine() error {
	return status.Errorf(status.OSErr, "give up privileges: %w", errors.ErrUnsupported)
}
