package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pipes is a standard input and output in blocking mode, as a shell makes them, and the other ends.
func pipes(t *testing.T) (in, out, toIn, fromOut *os.File) {
	t.Helper()
	var fds [4]int
	for i := range 2 {
		if err := syscall.Pipe(fds[2*i : 2*i+2]); err != nil {
			t.Fatal(err)
		}
	}
	in, toIn = os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "to in")
	fromOut, out = os.NewFile(uintptr(fds[2]), "from out"), os.NewFile(uintptr(fds[3]), "out")
	t.Cleanup(func() {
		for _, f := range []*os.File{in, out, toIn, fromOut} {
			f.Close()
		}
	})
	return in, out, toIn, fromOut
}

func TestPipesAsConnection(t *testing.T) {
	in, out, toIn, fromOut := pipes(t)
	io.WriteString(toIn, "one\ntwo\n")
	toIn.Close()
	if err := Run(t.Context(), Options{Stdin: in, Stdout: out, Environ: []string{}}, tell); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(fromOut) // ends, since Run closed all that it had
	if want := "peer= host= here= proto= tls= name= local=true leaked=0\none\ntwo\nbye\n"; err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
}

func TestDeadlinesOnEveryKind(t *testing.T) {
	kinds := map[string]func(t *testing.T) net.Conn{
		"blocking pipes": func(t *testing.T) net.Conn {
			in, out, _, _ := pipes(t)
			return mustStandard(t, in, out)
		},
		"pollable pipes": func(t *testing.T) net.Conn {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close(); w.Close() })
			_, out, _, fromOut := pipes(t)
			t.Cleanup(func() { fromOut.Close() })
			return mustStandard(t, r, out)
		},
		"one socket": func(t *testing.T) net.Conn {
			a, _ := socketpair(t)
			return mustStandard(t, a, a)
		},
		"two sockets": func(t *testing.T) net.Conn {
			a, _ := socketpair(t)
			b, _ := socketpair(t)
			return mustStandard(t, a, b)
		},
		"TCP": func(t *testing.T) net.Conn {
			_, server := tcpPair(t)
			f := fileOf(t, server)
			return mustStandard(t, f, f)
		},
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: got %#v, want a net.Error that is a time-out", err)
			}
			c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			for err = nil; err == nil; {
				_, err = c.Write(make([]byte, 1<<20))
			}
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
				t.Errorf("write: got %#v, want a net.Error that is a time-out", err)
			}
			c.SetDeadline(time.Time{})
			read := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 1))
				read <- err
			}()
			c.Close()
			if err := <-read; !errors.Is(err, net.ErrClosed) {
				t.Errorf("a read while closing: got %v, want net.ErrClosed", err)
			}
		})
	}
}

func mustStandard(t *testing.T, in, out *os.File) net.Conn {
	t.Helper()
	c, err := standardConn(in, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestModeOfPipesIsLeftAlone: the other holders of our pipes, such as a stderr in the same pipe, must not find them
// non-blocking.
func TestModeOfPipesIsLeftAlone(t *testing.T) {
	in, out, _, _ := pipes(t)
	copyOf := func(f *os.File) (fd int) {
		control(f, func(n int) (err error) { fd, err = syscall.Dup(n); return err })
		t.Cleanup(func() { syscall.Close(fd) })
		return fd
	}
	held := []int{copyOf(in), copyOf(out)}
	c := mustStandard(t, in, out)
	for _, fd := range held {
		if flags, err := fcntlFlags(fd); err != nil || flags&syscall.O_NONBLOCK != 0 {
			t.Errorf("descriptor %d has flags %#x, %v", fd, flags, err)
		}
	}
	c.Close()
}

func TestHalfClose(t *testing.T) {
	in, out, toIn, fromOut := pipes(t)
	c := &Conn{Conn: mustStandard(t, in, out)}
	io.WriteString(c, "all I have\n")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(fromOut); err != nil || string(b) != "all I have\n" {
		t.Errorf("got %q, %v", b, err)
	}
	io.WriteString(toIn, "go on\n")
	toIn.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "go on\n" {
		t.Errorf("after the half close: got %q, %v", b, err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after the half close: got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	if err := (&Conn{Conn: b}).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("where it is not possible: got %v", err)
	}
}

func TestPeerThatWentAwayIsAnError(t *testing.T) {
	in, out, _, fromOut := pipes(t)
	c := mustStandard(t, in, out)
	fromOut.Close()
	_, err := c.Write([]byte("x"))
	if _, ok := err.(net.Error); !ok || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %#v, want a net.Error with EPIPE", err)
	}
}

func TestPlainFiles(t *testing.T) {
	dir := t.TempDir()
	script, answer := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(script, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(answer)
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), Options{Stdin: in, Stdout: out, Environ: []string{"TCPREMOTEIP=192.0.2.1"}}, func(ctx context.Context, c *Conn) {
		if err := c.SetDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Errorf("deadline: %v", err)
		}
		tell(ctx, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(answer)
	if want := "peer=192.0.2.1 host= here= proto=TCP tls= name= local=false leaked=0\nhello\nbye\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestNetworkSocketIsUsedBothWays is a unit with StandardInput=socket alone: its output must not go to the journal.
func TestNetworkSocketIsUsedBothWays(t *testing.T) {
	client, server := tcpPair(t)
	in := fileOf(t, server)
	server.Close()
	_, journal, _, fromJournal := pipes(t)
	ended := make(chan error, 1)
	go func() {
		ended <- Run(context.Background(), Options{Stdin: in, Stdout: journal, Environ: []string{}}, tell)
	}()
	if got := talk(t, client, "hello\n"); !strings.HasPrefix(got, "peer=127.0.0.1 host= here=127.0.0.1 ") || !strings.HasSuffix(got, "\nhello\nbye\n") {
		t.Errorf("got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(fromJournal); err != nil || len(b) > 0 {
		t.Errorf("the journal got %q, %v", b, err)
	}
}

func TestListeningSocketOnStandardInput(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	in := fileOf(t, l.(*net.TCPListener))
	go func() {
		ended <- Run(ctx, Options{Stdin: in, Stdout: in, Environ: []string{}, Drain: time.Minute}, tell)
	}()
	if got := talk(t, dial(t, l.Addr()), "hello\n"); !strings.HasSuffix(got, "\nhello\nbye\n") {
		t.Errorf("got %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPeerThatClosedAlready: what it said is served all the same, and a reset network connection does not become local.
func TestPeerThatClosedAlready(t *testing.T) {
	a, b := socketpair(t)
	io.WriteString(b, "last words\n")
	b.Close()
	client, server := tcpPair(t)
	f := fileOf(t, server)
	server.Close()
	client.SetLinger(0)
	client.Close() // a reset
	poll(t, f)
	for _, c := range []struct {
		in    *os.File
		local bool
		want  string
	}{{a, true, "last words\n"}, {f, false, ""}} {
		served := false
		err := Run(t.Context(), Options{Stdin: c.in, Stdout: c.in, Environ: []string{}}, func(_ context.Context, conn *Conn) {
			served = true
			b, _ := io.ReadAll(conn)
			if conn.Local != c.local || string(b) != c.want || conn.RemoteAddr().String() == "" {
				t.Errorf("got %q, local=%v, peer %v", b, conn.Local, conn.RemoteAddr())
			}
		})
		if err != nil || !served {
			t.Errorf("served=%v, %v", served, err)
		}
	}
}

func TestUnusableStandardFiles(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	datagram, other := os.NewFile(uintptr(fds[0]), "datagram"), os.NewFile(uintptr(fds[1]), "datagram")
	defer datagram.Close()
	defer other.Close()
	closed, _, _, _ := pipes(t)
	closed.Close()
	open, out, _, _ := pipes(t)
	for name, o := range map[string]Options{
		"datagrams":     {Stdin: datagram, Stdout: datagram},
		"closed input":  {Stdin: closed, Stdout: out},
		"closed output": {Stdin: open, Stdout: closed},
	} {
		if err := Run(t.Context(), o, func(context.Context, *Conn) { t.Errorf("%s: served", name) }); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestFailureOfTheOnlySession(t *testing.T) {
	in, out, _, _ := pipes(t)
	err := Run(t.Context(), Options{Stdin: in, Stdout: out, Environ: []string{}}, func(context.Context, *Conn) { panic("x") })
	if err == nil || !strings.Contains(err.Error(), "internal error: x") {
		t.Errorf("got %v", err)
	}
}
