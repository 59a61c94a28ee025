package mailtest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// Patience is how long a test waits for a program of others before it says that it hangs.
const Patience = 30 * time.Second

// FreePort is a port of loopback that nobody used a moment ago, for peers that cannot choose one.
func FreePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// Passable is a directory of the test that peers can read and pass through which give up being root.
func Passable(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Listens waits until something takes connections on a port of loopback.
func Listens(t testing.TB, port string) {
	t.Helper()
	giveUp := time.After(Patience)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-giveUp:
			t.Fatalf("nothing listens on port %s", port)
		}
	}
}

// Follow starts a peer that ends with the test, and its process group with it, and returns what it prints, by lines.
func Follow(t testing.TB, cmd *exec.Cmd) <-chan string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	ownGroup(cmd)
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1<<16)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		terminate(cmd)
		timer := time.AfterFunc(Patience, func() { cmd.Process.Kill() })
		defer timer.Stop()
		cmd.Wait()
		killGroup(cmd)
		r.Close()
	})
	return lines
}

// Await waits until n lines of a peer match want. A line that matches never fails the test.
func Await(t testing.TB, lines <-chan string, n int, want, never string) {
	t.Helper()
	good, bad := regexp.MustCompile(want), regexp.MustCompile(never)
	for giveUp := time.After(2 * Patience); n > 0; {
		select {
		case line, ok := <-lines:
			t.Log(line)
			if !ok || never != "" && bad.MatchString(line) {
				t.Fatalf("waiting for %q: %q", want, line)
			}
			if good.MatchString(line) {
				n--
			}
		case <-giveUp:
			t.Fatalf("%d times %q is missing", n, want)
		}
	}
}
