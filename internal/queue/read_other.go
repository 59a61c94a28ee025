//go:build !linux

package queue

import (
	"io"
	"os"
	"path/filepath"
)

func readFile(dir *os.File, name string, _ []byte, most int) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir.Name(), name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(most)+1))
}

func fileSize(dir *os.File, name string) (int64, error) {
	info, err := os.Lstat(filepath.Join(dir.Name(), name))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
