package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"time"
)

// startTLS is RFC 3207. What the client sent in clear behind the command becomes the beginning of the handshake, and breaks
// it; nothing of the session before it is believed afterwards (section 4.2), the greeting included.
func (s *session) startTLS(arg string) Reply {
	switch {
	case arg != "":
		return syntax("STARTTLS")
	case s.secure:
		return Reply{503, "5.5.1", []string{"Error: TLS already active"}}
	case s.srv.TLS == nil:
		return Reply{502, "5.5.1", []string{"Error: TLS is not available"}}
	case s.facts.Envelope.Conn.AuthUser != "":
		return Reply{503, "5.5.1", []string{"Error: STARTTLS is not possible after AUTH"}}
	}
	s.reply(Reply{220, "2.0.0", []string{"Ready to start TLS"}})
	if s.flush() != nil {
		return Reply{}
	}
	if err := s.handshake(); err != nil {
		s.tlsFailed(err)
	}
	return Reply{}
}

// tlsFailed ends the session: whoever failed the handshake is not spoken to in clear.
func (s *session) tlsFailed(err error) {
	s.lost = err
	s.logRefusal("TLS handshake failed", err)
}

// handshake changes to TLS and to the state after the banner.
func (s *session) handshake() error {
	ctx, cancel := context.WithDeadline(s.ctx, s.cap(time.Now().Add(s.srv.CommandTimeout)))
	defer cancel()
	s.raw.SetDeadline(time.Time{})
	t := tls.Server(&leftoverConn{Conn: s.raw, in: s.in}, s.srv.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	state := t.ConnectionState()
	s.trace.TLS(state)
	s.record.TLS(state)
	s.reset()
	s.secure, s.state, s.facts.Extended = true, connected, false
	s.facts.Envelope.Conn.Helo = ""
	s.facts.Envelope.Conn.TLS = describeTLS(state)
	s.facts.TLS = &state
	s.use(s.record.Conn(s.trace.Conn(t)))
	return nil
}

// describeTLS is version and cipher: "TLSv1.3 TLS_AES_128_GCM_SHA256".
func describeTLS(state tls.ConnectionState) string {
	return strings.Replace(tls.VersionName(state.Version), " ", "v", 1) + " " + tls.CipherSuiteName(state.CipherSuite)
}

// leftoverConn reads what is left in a buffer before it reads the connection. The buffer itself is not filled again: its
// reader would put the handshake into the transcript.
type leftoverConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *leftoverConn) Read(b []byte) (int, error) {
	if n := c.in.Buffered(); n > 0 {
		return io.ReadFull(c.in, b[:min(n, len(b))])
	}
	return c.Conn.Read(b)
}
