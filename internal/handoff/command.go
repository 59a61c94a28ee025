// Package handoff runs the next program by the rules of mailpipe(7), and is the other side of the same rules for programs
// that are run.
//
// It hides how a message, its envelope and its fate pass between processes. It guarantees that a program sees a message
// only when it is complete, on a file it can seek in; that no value from outside goes through a shell; that nothing a
// program does (hanging, flooding, dying, leaving children behind) holds its caller up beyond the deadline; and that
// whatever is not one of the five permanent exit statuses is temporary.
package handoff

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

const (
	// LogCap is how much of a program's output is passed on to our own stderr if OutputCap is zero.
	LogCap = 64 << 10
	grace  = 5 * time.Second // between SIGTERM and SIGKILL
	settle = time.Second     // for output that a process outside the group still holds open
)

// Command is a program to hand messages to. It may be run any number of times, also at once.
type Command struct {
	Args     []string      // program and arguments as they are; never given to a shell
	Environ  []string      // what the envelope is added to; nil = os.Environ()
	Deadline time.Duration // for the whole run, 0 = none
	Dir      string        // working directory, empty = ours
	Owner    *Owner        // who the program runs as, nil = as we do; only root may choose

	// Stdout takes the program's standard output; it must not block for ever. Nil = it is passed on as its standard error is.
	Stdout io.Writer
	// Stderr is where the program's standard error is passed on to; nil = os.Stderr. Errors in writing there are ignored.
	Stderr io.Writer
	// OutputCap bounds the bytes of output. More on Stdout ends the program and is a temporary error (0 = no limit); more
	// on Stderr is dropped (0 = LogCap).
	OutputCap int

	grace time.Duration // 0 = the package's; tests are less patient
}

// Owner is the user and the only group of a program.
type Owner struct{ UID, GID uint32 }

// Run hands m and e to the program and waits for it. The program gets m's bytes in an unlinked file on standard input and
// e in its environment, and is the leader of a process group that is killed when the program ends.
//
// The result is nil if it exited 0: it has taken responsibility for every recipient. Otherwise it is a *status.Error: by
// its exit status and the last line on its standard error; temporary if it could not be started or died of a signal.
// When ctx or the deadline ends, the group gets SIGTERM and, 5 s later, SIGKILL; a program that still manages to exit 0 has
// succeeded, and anything else is temporary then.
func (c Command) Run(ctx context.Context, m *message.Message, e *envelope.Envelope) error {
	stderr := c.Stderr
	if stderr == nil {
		stderr = os.Stderr
	}
	logCap := c.OutputCap
	if logCap == 0 {
		logCap = LogCap
	}
	log := newLog(stderr, logCap)
	p := child{args: c.Args, base: c.Environ, dir: c.Dir, owner: c.Owner, group: true, deadline: c.Deadline, grace: c.grace, stderr: log}
	if p.grace == 0 {
		p.grace = grace
	}
	p.stdout = c.Stdout
	switch {
	case c.Stdout == nil:
		p.stdout = log
	case c.OutputCap > 0:
		p.stdout = &capped{w: c.Stdout, left: c.OutputCap, max: c.OutputCap}
	}
	return p.run(ctx, m, e)
}

// Next is how a filter hands on what it made: it runs args with m and e, and without args writes m to stdout.
//
// The program stays in the filter's process group, so that whoever runs the filter reaches both. Its standard error is
// passed through whole, and the error returned carries its exit status exactly, so that the filter can exit as it did. Its
// standard output is stdout. If ctx ends, the program gets SIGTERM and, 5 s later, SIGKILL.
func Next(ctx context.Context, args []string, m *message.Message, e *envelope.Envelope, stdout io.Writer) error {
	if len(args) > 0 {
		p := child{args: args, grace: grace, stdout: stdout, stderr: newLog(os.Stderr, 0)}
		return p.run(ctx, m, e)
	}
	if _, err := io.Copy(stdout, m.Reader()); err != nil {
		return status.Of(wrapf(err, "write the message to standard output"))
	}
	return nil
}

// environment is base with e's variables instead of those that base may have, and without those that speak of our own
// standing with a service manager (sd_listen_fds(3), sd_notify(3)).
func environment(base []string, e *envelope.Envelope) ([]string, error) {
	if base == nil {
		base = os.Environ()
	}
	kept := make([]string, 0, len(base))
	for _, kv := range base {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "NOTIFY_SOCKET":
		default:
			kept = append(kept, kv)
		}
	}
	return e.Environ(kept)
}
