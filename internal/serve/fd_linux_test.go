package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is both ends of a pseudo terminal that does not echo.
func terminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	number, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mode, err := unix.IoctlGetTermios(slave, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Lflag &^= unix.ECHO
	mode.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(slave, unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
	keyboard, tty = os.NewFile(uintptr(master), "keyboard"), os.NewFile(uintptr(slave), "tty")
	t.Cleanup(func() { keyboard.Close(); tty.Close() })
	return keyboard, tty
}

// TestTerminal types a line; then the interrupt key ends the session at once, in spite of the time to drain, and the
// terminal is left in blocking mode for the shell.
func TestTerminal(t *testing.T) {
	keyboard, tty := terminal(t)
	in, out := dupFile(t, tty), dupFile(t, tty)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	o := Options{Stdin: in, Stdout: out, Environ: []string{}, Drain: time.Hour}
	read := make(chan error, 1)
	go func() {
		result <- Run(ctx, o, func(_ context.Context, c *Conn) {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			fmt.Fprintf(c, "local=%v timeout=%v\n", c.Local, errors.Is(err, os.ErrDeadlineExceeded))
			c.SetReadDeadline(time.Time{})
			lines := bufio.NewReader(c)
			line, _ := lines.ReadString('\n')
			fmt.Fprintf(c, "got %s", line)
			_, err = lines.ReadByte()
			read <- err
		})
	}()
	screen := bufio.NewReader(keyboard)
	expect := func(want string) {
		t.Helper()
		if got, err := screen.ReadString('\n'); err != nil || got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	expect("local=true timeout=true\n")
	keyboard.WriteString("hello\n")
	expect("got hello\n")
	cancel()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the session's read ended with %v", err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if flags, err := fcntlFlags(int(tty.Fd())); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("the terminal is left with flags %#x, %v", flags, err)
	}
}

func dupFile(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	dup := os.NewFile(uintptr(fd), f.Name())
	t.Cleanup(func() { dup.Close() })
	return dup
}
