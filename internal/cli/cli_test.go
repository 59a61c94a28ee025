package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"pennypost/internal/status"
)

func TestRun(t *testing.T) {
	tests := []struct {
		name     string
		args     []string
		err      error
		mailpipe bool
		exit     int
		stderr   string
	}{
		{"fine", nil, nil, false, 0, ""},
		{"unknown flag", []string{"--bogus"}, nil, false, 64, "prog: unknown flag: --bogus\ntry 'prog --help'\n"},
		{"too many arguments", []string{"a", "b", "c"}, nil, false, 64, "prog: accepts at most 2 arg(s), received 3\ntry 'prog --help'\n"},
		{"usage found at run time", nil, Usagef("give a name"), false, 64, "prog: give a name\ntry 'prog --help'\n"},
		{"unclassified", nil, errors.New("odd"), false, 75, "prog: odd\n"},
		{"classified", nil, fmt.Errorf("look: %w", status.Errorf(status.NoUser, "no user %q", "x")), false, 67, "prog: look: no user \"x\"\n"},
		{"mailpipe", nil, status.Errorf(status.NoUser, "no user"), true, 67, "550 5.1.1 no user\n"},
		{"hostile text", nil, errors.New("a\nb\x1b[2J"), false, 75, "prog: a\\x0ab\\x1b[2J\n"},
		{"said already", nil, &ExitError{1}, false, 1, ""},
		{"nobody reads", nil, &os.PathError{Op: "write", Path: "stdout", Err: syscall.EPIPE}, false, 75, ""},
		{"bad usage in a mailpipe", []string{"--bogus"}, nil, true, 64, "prog: unknown flag: --bogus\ntry 'prog --help'\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := &cobra.Command{Use: "prog", Args: cobra.MaximumNArgs(2), RunE: func(*cobra.Command, []string) error { return tt.err }}
			if tt.mailpipe {
				Mailpipe(cmd)
			}
			exit, stderr := capture(t, func() int { return run(context.Background(), cmd, tt.args) })
			if exit != tt.exit || stderr != tt.stderr {
				t.Errorf("got exit %d, stderr %q; want %d, %q", exit, stderr, tt.exit, tt.stderr)
			}
		})
	}
}

func TestSubcommandsAreNotedToo(t *testing.T) {
	sub := &cobra.Command{Use: "sub", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return errors.New("odd") }}
	cmd := &cobra.Command{Use: "prog", RunE: func(*cobra.Command, []string) error { return nil }}
	cmd.AddCommand(sub)
	exit, stderr := capture(t, func() int { return run(context.Background(), cmd, []string{"sub"}) })
	if exit != 75 || stderr != "prog: odd\n" {
		t.Errorf("got %d %q", exit, stderr)
	}
}

// A mistake of ours is one that passes, for the caller.
func TestPanic(t *testing.T) {
	cmd := Mailpipe(&cobra.Command{Use: "prog", RunE: func(*cobra.Command, []string) error { panic("odd") }})
	exit, stderr := capture(t, func() int { return run(context.Background(), cmd, nil) })
	if exit != 70 || !strings.HasSuffix(stderr, "\n451 4.3.0 internal error: odd\n") || !strings.Contains(stderr, "cli_test.go") {
		t.Errorf("got exit %d, stderr %q", exit, stderr)
	}
}

func TestLoggerHasNoTime(t *testing.T) {
	var b strings.Builder
	cmd := &cobra.Command{}
	cmd.SetErr(&b)
	Logger(cmd).Info("message taken", "size", 3)
	if got, want := b.String(), "level=INFO msg=\"message taken\" size=3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// capture runs f with stderr in a pipe.
func capture(t *testing.T, f func() int) (int, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stderr
	os.Stderr = w
	exit := f()
	os.Stderr = old
	w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return exit, string(out)
}
