package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"pennypost/internal/mailtest"
)

// openPTY opens a terminal: the side of who sits there, and the program's.
func openPTY(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	var unlock, n int32
	for request, p := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &n} {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), request, uintptr(unsafe.Pointer(p))); e != 0 {
			t.Fatal(e)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	return user, program
}

// sitting is somebody at a terminal, who types when he has seen something.
type sitting struct {
	t    *testing.T
	tty  *os.File
	seen bytes.Buffer
	from int
}

func (s *sitting) await(text string) {
	s.t.Helper()
	for !strings.Contains(s.seen.String()[s.from:], text) {
		b := make([]byte, 4096)
		n, err := s.tty.Read(b)
		s.seen.Write(b[:n])
		if err != nil && n == 0 && !strings.Contains(s.seen.String()[s.from:], text) {
			s.t.Fatalf("%q is not to be seen in\n%q: %v", text, s.seen.String()[s.from:], err)
		}
	}
	s.from += strings.Index(s.seen.String()[s.from:], text) + len(text)
}

func (s *sitting) types(text string) { s.tty.WriteString(text) }

// A session at a terminal: completion, what is not shown, lines that come unasked, and the end by the server.
func TestTalkAtTerminal(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	err := os.WriteFile(script, []byte("<- 220 here\n-> EHLO me\n<- 250-here\n<- 250 AUTH PLAIN\n-> AUTH PLAIN\n<- 334 \n-> c2VjcmV0\n"+
		"<- 535 5.7.8 no\n<= 421 4.4.2 \\x1b[31mbye\\r\\n\n<- EOF\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	bin := mailtest.Build(t, "smtpsend", "smtpd")
	user, program := openPTY(t)
	cmd := exec.Command(filepath.Join(bin, "smtpsend"), "talk", "--pipe", filepath.Join(bin, "smtpd")+" --script "+script)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, &stderr
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	defer time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() }).Stop() // reading ends with it
	s := &sitting{t: t, tty: user}
	s.await("\x1b[32m<- 220 here\x1b[0m")
	s.await("-> ")
	s.types("eh\tme\r")
	s.await("<- 250 AUTH PLAIN")
	s.await("-> ")
	s.types("a\tp\t\r")
	s.await("-> (not shown) ")
	s.types("c2VjcmV0\r")
	s.await(`\x1b[31mbye`)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 75 || !strings.Contains(stderr.String(), "closed the connection") {
		t.Errorf("%v, %q; want status 75", err, stderr.String())
	}
	if strings.Contains(s.seen.String(), "c2VjcmV0") {
		t.Errorf("the secret shows in %q", s.seen.String())
	}
}
