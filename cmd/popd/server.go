package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/pop3"
	"pennypost/internal/postoffice"
	"pennypost/internal/serve"
	"pennypost/internal/status"
)

// handshakeTime is how long a peer may take to start TLS.
const handshakeTime = time.Minute

// server is what all sessions share.
type server struct {
	o      options
	office *postoffice.Office // nil with --maildir
	tls    *tls.Config        // nil without an office and --cert
	log    *slog.Logger

	mu    sync.Mutex
	trace io.Writer
}

// session serves one connection.
func (s *server) session(ctx context.Context, c *serve.Conn) error {
	o := pop3.Options{
		Login:     s.login,
		TLS:       s.tls,
		Secure:    c.Info.TLS != "",
		Plaintext: s.o.plaintext || c.Local || loopback(c.Info.RemoteIP),
		Log:       s.log.With("peer", c.Info.RemoteIP),
	}
	if s.o.verbose {
		o.Trace = s.print
	}
	if s.o.known() {
		if !c.Local {
			return status.Errorf(status.NoPerm, "%q may not read a mailbox without a login: it is not local", c.Info.RemoteIP)
		}
		d, err := s.open()
		if err != nil {
			return err
		}
		o.Maildir = d
	}
	if s.o.tls {
		t := tls.Server(c.Conn, s.tls)
		hctx, cancel := context.WithTimeout(ctx, handshakeTime)
		defer cancel()
		if err := t.HandshakeContext(hctx); err != nil {
			return status.Errorf(status.Protocol, "TLS handshake: %w", err)
		}
		defer t.Close()
		c.Conn, o.Secure = t, true
	}
	sum, err := pop3.Serve(ctx, c, o)
	if s.o.verbose && sum.User != "" {
		s.log.Info("session", "user", sum.User, "peer", c.Info.RemoteIP, "retrieved", sum.Retrieved, "removed", sum.Removed, "quit", sum.Quit)
	}
	return err
}

// login asks the post office.
func (s *server) login(user, password string) (*maildir.Dir, error) {
	box, err := s.office.Authenticate(user, password)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	return box.Maildir()
}

// open opens the mailbox of --maildir or --user.
func (s *server) open() (*maildir.Dir, error) {
	if s.o.maildir != "" {
		d, err := maildir.OpenPath(s.o.maildir)
		if err != nil {
			return nil, status.Errorf(status.NoInput, "%w", err)
		}
		return d, nil
	}
	a, err := envelope.Parse(s.o.user)
	if err != nil {
		return nil, err
	}
	box, err := s.office.Lookup(a)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	return box.Maildir()
}

func (s *server) print(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.trace, line)
}

// prepareTLS says where the certificate is. It is read for each handshake, so
// that a renewed one is used at once and a session without TLS costs nothing.
func (s *server) prepareTLS() error {
	load := func() (tls.Certificate, error) { return tls.LoadX509KeyPair(s.o.cert, s.o.key) }
	switch {
	case s.o.cert != "":
		if _, err := load(); err != nil {
			return status.Errorf(status.Config, "read certificate %q and key %q: %w", s.o.cert, s.o.key, err)
		}
	case s.office == nil:
		return nil
	default:
		load = func() (tls.Certificate, error) {
			host, _ := os.Hostname()
			return s.office.Certificate(host)
		}
	}
	s.tls = &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"pop3"}, // who asks for another protocol is at the wrong port
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := load()
			return &pair, err
		},
	}
	return nil
}

func loopback(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsLoopback()
}
