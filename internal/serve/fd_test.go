//go:build unix

package serve

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func fcntlFlags(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0) }

// poll waits until there is something to read from f, or its end.
func poll(t *testing.T, f *os.File) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 20_000); n != 1 {
		t.Fatalf("poll: %d, %v", n, err)
	}
}

func TestSilence(t *testing.T) {
	a, b := socketpair(t)
	info, err := a.Stat()
	if err != nil {
		t.Fatal(err)
	}
	otherInfo, err := b.Stat()
	if err != nil {
		t.Fatal(err)
	}
	dup, err := unix.FcntlInt(a.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.NewFile(uintptr(dup), "stderr")
	defer stderr.Close()
	silence(stderr, otherInfo) // another file: stays
	stderr.WriteString("kept\n")
	silence(stderr, info)
	if _, err := stderr.WriteString("dropped\n"); err != nil {
		t.Errorf("writing to a silenced log: %v", err)
	}
	a.WriteString("end\n")
	buf := make([]byte, 100)
	n, err := b.Read(buf)
	if got := string(buf[:n]); err != nil || got != "kept\nend\n" {
		t.Errorf("the peer got %q, %v", got, err)
	}
}

func TestPlainFilesAreNotListening(t *testing.T) {
	in, _, _, _ := pipes(t)
	a, _ := socketpair(t)
	for _, f := range []*os.File{in, a} {
		if isListening(f) || isTerminal(f) {
			t.Errorf("%s: taken for a listening socket or a terminal", strings.ToLower(f.Name()))
		}
	}
}
