package mailtest

import (
	"net"
	"os"
	"testing"
)

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
