//go:build unix

package serve

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// control runs fn on f's descriptor without putting f into blocking mode, as f.Fd would.
func control(f *os.File, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// isListening reports whether f is a socket that accepts connections.
func isListening(f *os.File) bool {
	listening := 0
	err := control(f, func(fd int) (err error) {
		listening, err = syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		return err
	})
	return err == nil && listening != 0
}

// isTerminal reports whether somebody types f.
func isTerminal(f *os.File) bool {
	is := false
	control(f, func(fd int) error { is = term.IsTerminal(fd); return nil })
	return is
}

// replace makes f's descriptor mean what with's does.
func replace(f, with *os.File) error {
	return control(with, func(from int) error {
		return control(f, func(to int) error { return unix.Dup2(from, to) })
	})
}

// pollable is f, or another file for the same thing, with deadlines if that kind of file can have them.
//
// The descriptors of a process are in blocking mode, and the mode is shared by all that have a copy: the shell whose
// terminal it is, or our own stderr if it goes to the same pipe. So the file is opened anew where the system can do that.
// Where it cannot, pipes and sockets are switched, since there nobody else writes; terminals are left as they are.
func pollable(f *os.File, flag int) (*os.File, error) {
	if f.SetDeadline(noDeadline) == nil {
		return f, nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) != 0 {
		if again, err := reopen(f, flag|unix.O_NONBLOCK|unix.O_NOCTTY); err == nil {
			return again, nil
		}
	}
	switching := info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0
	var dup int
	err = control(f, func(fd int) (err error) {
		if dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil && switching {
			err = syscall.SetNonblock(dup, true)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), f.Name()), nil
}
