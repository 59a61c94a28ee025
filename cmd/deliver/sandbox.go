package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pennypost/internal/cli"
	"pennypost/internal/cli/sandbox"
	"pennypost/internal/delivery"
)

// confine has the process write only where the delivery does, and into the queue. Commands may have to write elsewhere, and to
// run programs with rights of their own, so with them it is done only when that was asked for.
func confine(how, queue string, o *delivery.Options) error {
	switch how {
	case "auto", "always":
	case "never":
		return nil
	default:
		return cli.Usagef("--sandbox %q: want auto, always or never", how)
	}
	o.Ready = func(dirs []string, commands bool) error {
		if commands && how == "auto" {
			return nil
		}
		if commands {
			dirs = append(dirs, os.TempDir())
		}
		if queue != "" {
			dirs = append(dirs, present(queue))
		}
		return sandbox.Keep(slices.DeleteFunc(dirs, notDir)) // the others fail in words of their own
	}
	return nil
}

func notDir(path string) bool {
	info, err := os.Stat(path)
	return err != nil || !info.IsDir()
}

// present is the path, or the nearest directory above it that there is.
func present(path string) string {
	for {
		_, err := os.Stat(path)
		if up := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && up != path {
			path = up
			continue
		}
		return path
	}
}
