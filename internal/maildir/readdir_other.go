//go:build !linux

package maildir

import (
	"io"
	"io/fs"
	"os"
)

// readDir calls f for each entry of dir until it returns false.
func readDir(dir *os.File, f func(name string, mode fs.FileMode) bool) error {
	for {
		batch, err := dir.ReadDir(1024)
		for _, de := range batch {
			if !f(de.Name(), de.Type()) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
