package main

import (
	"net"
	"os"

	"golang.org/x/term"
)

// typedConn is a connection to somebody at a terminal, whose lines end in LF: they are read as CRLF, which is all that SMTP
// knows. Nothing that comes from a network goes through it.
type typedConn struct {
	net.Conn
	rest []byte
	cr   bool
}

// Read reads at most half as much as fits, since every LF may become two bytes.
func (c *typedConn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		in := make([]byte, max(1, len(b)/2))
		n, err := c.Conn.Read(in)
		if n == 0 {
			return 0, err
		}
		for _, x := range in[:n] {
			if x == '\n' && !c.cr {
				c.rest = append(c.rest, '\r')
			}
			c.cr = x == '\r'
			c.rest = append(c.rest, x)
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func terminal(f *os.File) bool {
	raw, err := f.SyscallConn()
	is := false
	if err == nil {
		raw.Control(func(fd uintptr) { is = term.IsTerminal(int(fd)) })
	}
	return is
}
