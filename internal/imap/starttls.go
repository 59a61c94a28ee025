package imap

import (
	"crypto/tls"
	"fmt"
	"time"
)

func (s *session) canStartTLS() bool { return s.cfg.TLS != nil && !s.secure }

// startTLS is STARTTLS (RFC 3501 section 6.2.1). Commands sent ahead in clear are not carried out: whoever sent
// them need not be the client.
func (s *session) startTLS(c *command) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	if !s.canStartTLS() {
		return bad("TLS cannot be started")
	}
	if s.dec.Buffered() > 0 {
		s.w.Line("%s BAD nothing may be sent behind STARTTLS", c.tag)
		return errBroken
	}
	s.w.Line("%s OK begin TLS now", c.tag)
	if err := s.w.Flush(); err != nil {
		return err
	}
	conn := tls.Server(s.conn, s.cfg.TLS)
	conn.SetDeadline(time.Now().Add(s.cfg.PreAuth))
	if err := conn.HandshakeContext(s.ctx); err != nil {
		s.cfg.Log.Info("TLS failed", "peer", s.peer.Address, "err", err)
		return fmt.Errorf("%w: TLS: %w", errBroken, err)
	}
	s.attach(conn)
	s.secure = true
	c.answered = true
	return nil
}
