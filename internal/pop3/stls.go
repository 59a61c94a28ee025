package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// stls starts TLS (RFC 2595 section 4). What the client sent behind the command
// goes into the handshake, which fails on it, so that nobody between client and
// server can put commands into the encrypted session. A USER given before is forgotten.
func (s *session) stls([]string) error {
	if !s.canTLS() {
		return s.refuse("", "TLS is not available")
	}
	s.ok("begin TLS")
	if err := s.w.Flush(); err != nil {
		return err
	}
	c := tls.Server(&readFirst{s.conn, s.r}, s.o.TLS)
	ctx, cancel := context.WithTimeout(s.ctx, tlsPatience)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	s.user = ""
	s.o.Secure = true
	s.attach(c)
	return nil
}

// readFirst is a connection of which some bytes were read already.
type readFirst struct {
	net.Conn
	r *bufio.Reader
}

func (c *readFirst) Read(p []byte) (int, error) { return c.r.Read(p) }
