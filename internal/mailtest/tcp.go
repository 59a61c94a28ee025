package mailtest

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

// Serve lets handle have each connection to a loopback address, and returns the port; port 0 finds one. Connections are closed
// after handle, and when the test ends its context does and Serve waits for all. Without that address the test is skipped.
func Serve(t testing.TB, ip string, port int, handle func(context.Context, net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
	if err != nil {
		t.Skipf("cannot listen on %s port %d: %v", ip, port, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); handle(ctx, c) })
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// TCP is a connection over loopback, both ends. Unlike net.Pipe it has room for what both sides write at the same time.
func TCP(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// TCPFile is TCP with the server's end as a file, for a child's stdin and stdout. The caller closes it.
func TCPFile(t testing.TB) (client *net.TCPConn, server *os.File) {
	t.Helper()
	client, s := TCP(t)
	defer s.Close()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	return client, f
}
