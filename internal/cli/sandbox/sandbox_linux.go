// Package sandbox lets a process that works for one user write only where it has to. It stands apart from drop, which is for
// servers and brings their packages along.
package sandbox

import (
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"

	"pennypost/internal/status"
)

// Keep lets the process, and what it runs, write only below these directories, for all threads and for good; it may still read
// what its user may. A kernel without Landlock restricts nothing.
func Keep(dirs []string) error {
	err := landlock.V6.BestEffort().RestrictPaths(
		landlock.RODirs("/"),
		landlock.RWDirs(dirs...).WithRefer().IgnoreIfMissing(),
		landlock.RWFiles(os.DevNull).IgnoreIfMissing(),
	)
	if err != nil {
		return status.Errorf(status.OSErr, "write nowhere but in %q: %w", dirs, err)
	}
	return nil
}
