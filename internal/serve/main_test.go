package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the server that the tests start as inetd, systemd and tcpserver would: SERVE_PROGRAM is its
// --proxy-from.
func TestMain(m *testing.M) {
	nets, ok := os.LookupEnv("SERVE_PROGRAM")
	if !ok {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := Options{Drain: time.Minute}
	if nets != "" {
		o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix(nets)}
	}
	if limits := os.Getenv("SERVE_LIMITS"); limits != "" {
		o.Busy = []byte("busy\n")
		fmt.Sscan(limits, &o.MaxPerAddress, &o.MaxPerNetwork, &o.RatePerAddress, &o.LimitDir)
	}
	if err := Run(ctx, o, tell); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "ended well")
}

// quick keeps the race detector from waiting a second at the end of each program.
const quick = "GORACE=atexit_sleep_ms=0"

// tell is a small protocol: it says what it knows of the peer, repeats lines, and says "bye" when there are no more.
func tell(_ context.Context, c *Conn) {
	i := c.Info
	fmt.Fprintf(c, "peer=%s host=%s here=%s proto=%s tls=%s name=%s local=%v leaked=%d\n",
		i.RemoteIP, i.RemoteHost, i.LocalIP, i.Proto, i.TLS, c.Name, c.Local, leaked())
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		fmt.Fprintln(os.Stderr, "log: a line came")
		fmt.Fprintln(c, lines.Text())
	}
	fmt.Fprintln(c, "bye")
}

// leaked counts the variables that a program run from here must not see.
func leaked() (n int) {
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LISTEN_") || strings.HasPrefix(kv, "NOTIFY_SOCKET=") {
			n++
		}
	}
	return n
}

// started runs a server on loopback until the test ends, and returns its addresses and how to stop it.
func started(t *testing.T, o Options, h func(context.Context, *Conn)) (addrs []net.Addr, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	open := make(chan []net.Addr, 1)
	ended := make(chan error, 1)
	if o.Listen == nil {
		o.Listen = []string{"127.0.0.1:0"}
	}
	o.Listening = func(a []net.Addr) { open <- a }
	go func() { ended <- Run(ctx, o, h) }()
	t.Cleanup(cancel)
	select {
	case addrs = <-open:
	case err := <-ended:
		t.Fatal(err)
	}
	return addrs, func() error {
		cancel()
		return <-ended
	}
}

func dial(t *testing.T, a net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// talk sends s, ends the sending half, and returns all that comes back.
func talk(t *testing.T, c net.Conn, s string) string {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
	if err := closeWrite(c); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

// socketpair is two connected unix sockets, as files in blocking mode, which is how a process gets them.
func socketpair(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// tcpPair is both ends of a connection on loopback.
func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client = dial(t, l.Addr()).(*net.TCPConn)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client, c.(*net.TCPConn)
}

// fileOf is a blocking copy of a connection's socket.
func fileOf(t *testing.T, c interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	f.Fd() // makes it blocking
	t.Cleanup(func() { f.Close() })
	return f
}
