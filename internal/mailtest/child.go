//go:build unix

package mailtest

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Child starts a program with a socket as its stdin and stdout, as inetd does, and returns the other end for a Dialog. Its
// stderr is the test's log. When the test ends the connection is closed and the program waited for.
func Child(t testing.TB, program string, args ...string) net.Conn {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fds[0])
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, logWriter{t}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := cmd.Wait(); err != nil {
			t.Logf("%s: %v", program, err)
		}
	})
	return c
}

// logWriter gives what a child says on stderr to the test's log.
type logWriter struct{ t testing.TB }

func (l logWriter) Write(p []byte) (int, error) {
	l.t.Logf("stderr: %s", p)
	return len(p), nil
}
