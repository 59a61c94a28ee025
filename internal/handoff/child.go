package handoff

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// child is one run of a program.
type child struct {
	args     []string
	base     []string
	dir      string
	owner    *Owner
	group    bool // leader of a process group that ends with it
	deadline time.Duration
	grace    time.Duration // between SIGTERM and SIGKILL
	stdout   io.Writer
	stderr   io.Writer

	cmd    *exec.Cmd
	mu     sync.Mutex
	reaped bool // the process id may belong to somebody else
}

// stream is one output of the child that we read.
type stream struct {
	r, w *os.File
	to   io.Writer
}

func (p *child) run(ctx context.Context, m *message.Message, e *envelope.Envelope) error {
	if len(p.args) == 0 {
		return status.Errorf(status.Config, "hand the message on: no program given")
	}
	env, err := environment(p.base, e)
	if err != nil {
		return err
	}
	stdin, err := m.File()
	if err != nil {
		return err
	}
	defer stdin.Close()
	if p.deadline > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, p.deadline)
		defer stop()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := ctx.Err(); err != nil {
		return status.Errorf(status.TempFail, "run %q: %w", p.args[0], err)
	}

	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdin = env, p.dir, stdin
	if p.group {
		ownGroup(p.cmd, p.owner)
	}
	var last tail
	streams, err := p.connect(&last)
	if err != nil {
		return err
	}
	if err := p.start(streams); err != nil {
		return err
	}
	collected := collect(streams, cancel)
	told := p.wait(ctx)
	finish(streams, collected)
	return p.fate(context.Cause(ctx), told, last.String())
}

// connect gives the child its outputs. A file goes to it directly, so that even a killed filter leaves nothing behind in a
// pipe; everything else is read by us.
func (p *child) connect(last *tail) ([]stream, error) {
	var streams []stream
	pipe := func(to io.Writer) (*os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			for _, s := range streams {
				s.r.Close()
				s.w.Close()
			}
			return nil, status.Errorf(status.OSErr, "make a pipe: %w", err)
		}
		streams = append(streams, stream{r, w, to})
		return w, nil
	}
	w, err := pipe(io.MultiWriter(last, p.stderr))
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = w
	if f, ok := p.stdout.(*os.File); ok {
		p.cmd.Stdout = f
		return streams, nil
	}
	if w, err = pipe(p.stdout); err != nil {
		return nil, err
	}
	p.cmd.Stdout = w
	return streams, nil
}

// start starts the program and closes our copies of its ends, whatever comes of it.
func (p *child) start(streams []stream) error {
	err := p.cmd.Start()
	for _, s := range streams {
		s.w.Close()
		if err != nil {
			s.r.Close()
		}
	}
	if err == nil {
		return nil
	}
	kind := status.Config // a wrong name or mode, which somebody has to mend
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) {
		kind = status.TempFail
	}
	return status.Errorf(kind, "run %q: %w", p.args[0], err)
}

// collect copies the streams until each ends, then closes the channel. If one cannot be taken, it ends the run.
func collect(streams []stream, cancel context.CancelCauseFunc) <-chan struct{} {
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(func() {
			defer s.r.Close()
			_, err := io.Copy(s.to, s.r)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				cancel(outputError{err})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return done
}

// finish waits until all output is taken; a process outside the group that holds it open is not waited for long.
func finish(streams []stream, collected <-chan struct{}) {
	if waitFor(collected, settle) {
		return
	}
	for _, s := range streams {
		s.r.SetReadDeadline(time.Now())
	}
	<-collected
}

// wait waits for the program to end, and makes it when ctx ends. It reports whether it had to. Afterwards the program is
// reaped, and nothing of its group is left.
func (p *child) wait(ctx context.Context) (told bool) {
	gone := make(chan struct{})
	go func() {
		p.reap()
		close(gone)
	}()
	select {
	case <-gone:
		return false
	case <-ctx.Done():
	}
	p.signal(syscall.SIGTERM)
	if !waitFor(gone, p.grace) {
		p.signal(syscall.SIGKILL)
		<-gone
	}
	return true
}

// fate reads the result. cause is why the run was ended from outside, told whether the program was still running then.
func (p *child) fate(cause error, told bool, last string) error {
	name, state := p.args[0], p.cmd.ProcessState
	if state == nil {
		return status.Errorf(status.TempFail, "wait for %q: no exit status", name)
	}
	exited, code := state.Exited(), state.ExitCode()
	var output outputError
	switch {
	case exited && !told && code != 0:
		return status.FromExit(code, last)
	case errors.As(cause, &output):
		return status.Of(wrapf(output.err, "take the output of %q", name))
	case exited && code == 0:
		return nil
	case !told:
		return status.Errorf(status.TempFail, "program %q ended badly: %v", name, state)
	case errors.Is(cause, context.DeadlineExceeded) && p.deadline > 0:
		return status.Errorf(status.TempFail, "program %q did not end within %v: %w", name, p.deadline, cause)
	}
	return status.Errorf(status.TempFail, "program %q was stopped: %w", name, cause)
}

func waitFor(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}
