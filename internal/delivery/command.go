package delivery

import (
	"errors"
	"os"
	"time"

	"pennypost/internal/handoff"
	"pennypost/internal/mbox"
	"pennypost/internal/status"
)

// commandDeadline is for one command of an instruction file.
const commandDeadline = 5 * time.Minute

// errStop says that a command wants the instructions after it left out.
var errStop = errors.New("stop")

// stop is the exit status by which a command says that it has seen to the message and nothing after it shall be done
// (qmail-command(8)).
const stop = 99

// errSaid is wrapped by the refusal of a command, whose words go to the sender as they are.
var errSaid = errors.New("said by a command")

// runAs is as whom a command of the plan is run. One that was named by hand is run as who we are, and never as root.
func (p *Plan) runAs() (*handoff.Owner, error) {
	if p.box != nil {
		return ownerOf(p.box.Home())
	}
	here, err := os.OpenRoot(".")
	if err != nil {
		return nil, status.Errorf(status.Config, "open the current directory: %w", err)
	}
	defer here.Close()
	return ownerOf(here)
}

// private comes before each command, so that what it makes is its user's alone; on the same line, since sh tells lines in errors.
const private = "umask 077; "

// command runs a line with sh(1) in the mailbox's home, or the current directory where there is none, as its owner, with the
// message as it came on standard input. By mailpipe(7) 65, 67, 68, 77 and 100 refuse the message for ever, and everything else
// but 0 and 99 makes it wait.
func (j *job) command(p *Plan, i Instruction) error {
	env, err := p.environ(j.sender, string(mbox.FromLine(j.sender.String(), time.Now())))
	if err != nil {
		return err
	}
	c := handoff.Command{
		Args: []string{"/bin/sh", "-c", private + i.Arg}, Environ: append(shellEnviron(), env...), Dir: p.Home, Deadline: commandDeadline,
	}
	if c.Owner, err = p.runAs(); err != nil {
		return err
	}
	err = c.Run(j.ctx, j.m, j.envelope.to(p))
	if e := status.Of(err); e != nil {
		if e.Exit == stop {
			return errStop
		}
		if e.Class == status.Permanent {
			e.Err = errSaid
		}
		return e
	}
	return nil
}

// shellEnviron is what commands get of our own environment.
func shellEnviron() []string {
	env := []string{"SHELL=/bin/sh"}
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	env = append(env, "PATH="+path)
	for _, name := range []string{"TZ", "LANG", "LC_ALL", "TMPDIR", "MAIL_OFFICE", "MAIL_QUEUE", "MAIL_RESOLVER"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
