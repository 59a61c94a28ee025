package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/status"
)

func TestEveryExitStatus(t *testing.T) {
	permanent := map[int]bool{65: true, 67: true, 68: true, 77: true, 100: true}
	codes := []int{0, 1, 2, 9, 99, 100, 101, 111, 112, 126, 127, 128, 137, 255}
	for c := 64; c <= 80; c++ {
		codes = append(codes, c)
	}
	for _, code := range codes {
		_, err := sh(t, Command{}, fmt.Sprintf("exit %d", code))
		if code == 0 {
			if err != nil {
				t.Errorf("exit 0: got %v, want success", err)
			}
			continue
		}
		want := status.Temporary
		if permanent[code] {
			want = status.Permanent
		}
		var e *status.Error
		if !errors.As(err, &e) {
			t.Errorf("exit %d: got %#v, want a *status.Error", code, err)
		} else if e.Class != want || e.Exit != code {
			t.Errorf("exit %d: got %v and exit %d, want %v", code, e.Class, e.Exit, want)
		}
	}
}

func TestReplyLine(t *testing.T) {
	cases := []struct{ name, script, want string }{
		{"reply", `echo "550 5.7.1 no thanks" >&2; exit 77`, "550 5.7.1 no thanks"},
		{"last line counts", `echo "550 5.7.1 first" >&2; echo "552 5.2.2 full" >&2; exit 100`, "552 5.2.2 full"},
		{"no line end", `printf "550 5.7.1 bare" >&2; exit 77`, "550 5.7.1 bare"},
		{"blank lines after", `printf "550 5.7.1 yes\r\n\n  \n" >&2; exit 77`, "550 5.7.1 yes"},
		{"temporary", `echo "450 4.2.0 greylisted" >&2; exit 75`, "450 4.2.0 greylisted"},
		{"plain text", `echo "deliver: no room" >&2; exit 75`, "451 4.3.0 deliver: no room"},
		{"stdout is not stderr", `echo "550 5.7.1 no"; exit 75`, "451 4.3.0 temporary failure"},
		{"class of the exit status", `echo "550 5.7.1 no" >&2; exit 78`, "451 4.3.5 no"},
		{"after a flood", `head -c 300000 /dev/zero | tr "\000" "x" >&2; echo >&2; echo "550 5.7.1 end" >&2; exit 77`, "550 5.7.1 end"},
		{"control bytes", `printf "550 5.7.1 a\033b\n" >&2; exit 77`, `550 5.7.1 a\x1bb`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := sh(t, Command{}, c.script)
			var e *status.Error
			if !errors.As(err, &e) || e.Line() != c.want {
				t.Errorf("got %q, want %q", fmt.Sprint(e.Line()), c.want)
			}
		})
	}
}

func TestMessageIsSeekableFile(t *testing.T) {
	path, env := self(t, "stdin")
	for _, body := range []string{"", "a", "Subject: x\n\nbody\r\n\x00\xff", strings.Repeat("x", 300_000)} {
		var out strings.Builder
		c := Command{Args: []string{path}, Environ: env, Stdout: &out}
		if err := c.Run(t.Context(), mail(body), letter(t, "bob@example.net")); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("regular=true links=0 offset=0 same=true %q", body); out.String() != want {
			t.Errorf("%d bytes: got %.100q, want %.100q", len(body), out.String(), want)
		}
	}
}

func TestEnvelopeInEnvironment(t *testing.T) {
	var out strings.Builder
	c := Command{Args: []string{"/usr/bin/env"}, Stdout: &out, Environ: []string{
		"PATH=/bin", "SENDER=old@example", "TCPREMOTEHOST=stale.example", "AUTHUSER=mallory", "RECIPIENT=old@example",
		"LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=x", "NOTIFY_SOCKET=/run/x"}}
	e := letter(t, "bob@example.net", "carol@example.net")
	if err := c.Run(t.Context(), mail(""), e); err != nil {
		t.Fatal(err)
	}
	got := "\n" + out.String()
	for _, want := range []string{"PATH=/bin", "SENDER=alice@example.org", "RECIPIENTS=bob@example.net\ncarol@example.net",
		"TCPREMOTEIP=192.0.2.7", "TCPREMOTEPORT=4711", "HELO=client.example", "SMTP_BODY=8BITMIME", "PROTO=TCP"} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	for _, stale := range []string{"old@example", "stale.example", "mallory", "LISTEN_", "NOTIFY_SOCKET", "RECIPIENT="} {
		if strings.Contains(got, stale) {
			t.Errorf("%q is left in %q", stale, got)
		}
	}
}

func TestNullSenderIsSet(t *testing.T) {
	null := ""
	e := letter(t, "bob@example.net")
	if err := e.FromArgs(&null, nil); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	c := Command{Args: []string{"/bin/sh", "-c", `printf "%s" "<${SENDER-unset}> $RECIPIENT"`}, Stdout: &out}
	if err := c.Run(t.Context(), mail(""), e); err != nil {
		t.Fatal(err)
	}
	if want := "<> bob@example.net"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestArgumentsAreNotForAShell(t *testing.T) {
	dir := t.TempDir()
	args := []string{"$(touch owned)", "`touch owned`", "a b", "*", ";touch owned", ""}
	out, err := sh(t, Command{Dir: dir}, `pwd; for a; do printf "[%s]" "$a"; done`, args...)
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := real + "\n[" + strings.Join(args, "][") + "]"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "owned")); !os.IsNotExist(err) {
		t.Errorf("an argument was run: %v", err)
	}
}

func TestTemporaryWhenItCannotRun(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/nonexistent\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"no-such-program-here"}, {filepath.Join(dir, "none")}, {script}, {plain}, {dir},
		{"/bin/sh", "-c", "kill -9 $$"}, {"/bin/sh", "-c", "kill -15 $$"}} {
		err := Command{Args: args}.Run(t.Context(), mail(""), letter(t, "bob@example.net"))
		var e *status.Error
		if !errors.As(err, &e) || e.Class != status.Temporary || e.Exit == 0 {
			t.Errorf("%q: got %v, want a temporary error", args, err)
		}
	}
}

func TestStdout(t *testing.T) {
	full := errors.New("full")
	cases := []struct {
		name   string
		c      Command
		script string
		class  status.Class
	}{
		{"below the cap", Command{OutputCap: 5}, `printf 12345`, status.Success},
		{"above the cap", Command{OutputCap: 5}, `printf 123456`, status.Temporary},
		{"endless", Command{OutputCap: 100_000}, `while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done`, status.Temporary},
		{"cannot be written", Command{Stdout: failing{full}}, `echo x`, status.Temporary},
		{"cannot be written, refused", Command{Stdout: failing{full}}, `echo x; exit 77`, status.Permanent},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, err := sh(t, c.c, c.script)
			got := status.Success
			if err != nil {
				got = status.Of(err).Class
			}
			if c.name == "cannot be written, refused" && errors.Is(err, full) {
				return // it was told to end before it could refuse
			}
			if got != c.class {
				t.Errorf("got %v (%v), want %v", got, err, c.class)
			}
			if c.c.OutputCap > 0 && len(out) > c.c.OutputCap {
				t.Errorf("%d bytes came through a cap of %d", len(out), c.c.OutputCap)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestOutputIsPassedOnWithinTheCap(t *testing.T) {
	for _, to := range []string{"1", "2"} { // what comes on both at once has no order
		var logged strings.Builder
		c := Command{Args: []string{"/bin/sh", "-c", `{ echo first; head -c 100000 /dev/zero; } >&` + to}, Stderr: &logged, OutputCap: 1000}
		if err := c.Run(t.Context(), mail(""), letter(t, "bob@example.net")); err != nil {
			t.Fatal(err)
		}
		if n := logged.Len(); n < 1000 || n > 1100 {
			t.Errorf("%s: %d bytes were passed on, want about 1000", to, n)
		}
		for _, want := range []string{"first\n", "dropped"} {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("%s: %q was not passed on", to, want)
			}
		}
	}
}

func TestDeadline(t *testing.T) {
	for name, script := range map[string]string{
		"waits":                    `exec sleep 1000`,
		"ignores SIGTERM":          `trap "" TERM; while :; do sleep 1000; done`,
		"children hold the output": `sleep 1000 & sleep 1000 >&2 & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sh(t, Command{Deadline: 200 * time.Millisecond, grace: 200 * time.Millisecond}, script)
			var e *status.Error
			if !errors.As(err, &e) || e.Class != status.Temporary || !strings.Contains(e.Text, "did not end within 200ms") {
				t.Errorf("got %v, want a temporary error about the deadline", err)
			}
		})
	}
}

// TestStop cancels the run once the program says that it is ready for it.
func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		class  status.Class
	}{
		"ends":          {`echo ready; exec sleep 1000`, status.Temporary},
		"ignores it":    {`trap "" TERM; echo ready; while :; do sleep 1000; done`, status.Temporary},
		"refuses then":  {`trap "exit 77" TERM; echo ready; while :; do sleep 0.01; done`, status.Temporary},
		"succeeds then": {`trap "exit 0" TERM; echo ready; while :; do sleep 0.01; done`, status.Success},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			run := Command{Args: []string{"/bin/sh", "-c", c.script}, Stdout: writerFunc(func([]byte) { cancel() }), grace: time.Minute}
			if name == "ignores it" {
				run.grace = 100 * time.Millisecond
			}
			err := run.Run(ctx, mail(""), letter(t, "bob@example.net"))
			switch {
			case c.class == status.Success && err != nil:
				t.Errorf("got %v, want success", err)
			case c.class != status.Success && (!errors.Is(err, context.Canceled) || status.Of(err).Class != c.class):
				t.Errorf("got %v, want a temporary error about the cancelling", err)
			}
			if err := run.Run(ctx, mail(""), letter(t, "bob@example.net")); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled before the start: got %v", err)
			}
		})
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// TestGroupIsKilled lets a program leave a child behind that holds the write end of a pipe of ours. The pipe ends only when
// that child is dead.
func TestGroupIsKilled(t *testing.T) {
	for name, script := range map[string]string{
		"left behind by success": `sleep 1000 & exit 0`,
		"left behind by failure": `(trap "" TERM HUP; sleep 1000; sleep 1000) & exit 77`,
		"left behind by a kill":  `sleep 1000 & kill -9 $$`,
		"at the deadline":        `(trap "" TERM; sleep 1000; sleep 1000) & sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			sh(t, Command{Stdout: w, Deadline: time.Second, grace: 50 * time.Millisecond}, script)
			w.Close()
			r.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.ReadAll(r); err != nil {
				t.Errorf("a process of the group lives on: %v", err)
			}
		})
	}
}

// TestEscapedProcess leaves the group and keeps the output open: nobody waits for it.
func TestEscapedProcess(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"ready", "end"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := sh(t, Command{Dir: dir}, `setsid /bin/sh -c "echo >ready; read x <end" & read x <ready; echo out`)
	if err != nil || out != "out\n" {
		t.Errorf("got %q, %v", out, err)
	}
	released := make(chan error, 1)
	go func() { // opening waits for the reader
		end, err := os.OpenFile(filepath.Join(dir, "end"), os.O_WRONLY, 0)
		end.Close()
		released <- err
	}()
	select {
	case err := <-released:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the process that left the group is gone")
	}
}

func TestRunsAtOnce(t *testing.T) {
	c := Command{Args: []string{"/bin/sh", "-c", "cat >/dev/null; exit 67"}}
	results := make(chan error, 8)
	for range cap(results) {
		go func() { results <- c.Run(context.Background(), mail("x\n"), letter(t, "bob@example.net")) }()
	}
	for range cap(results) {
		if e := status.Of(<-results); e == nil || e.Exit != 67 {
			t.Errorf("got %v, want exit 67", e)
		}
	}
}
