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
	"pennypost/internal/imap"
	"pennypost/internal/maildir"
	"pennypost/internal/postoffice"
	"pennypost/internal/sasl"
	"pennypost/internal/serve"
	"pennypost/internal/status"
)

// handshakeTime is how long a peer may take to start TLS.
const handshakeTime = time.Minute

// server is what all sessions share.
type server struct {
	o      options
	office *postoffice.Office // nil with --maildir
	config imap.Config
	log    *slog.Logger

	mu    sync.Mutex
	trace io.Writer
}

// session serves one connection.
func (s *server) session(ctx context.Context, c *serve.Conn) error {
	p := imap.Peer{
		Address:  c.Info.RemoteIP,
		Secure:   c.Info.TLS != "",
		Trusted:  c.Local || loopback(c.Info.RemoteIP),
		Stopping: c.Stopping,
	}
	if s.o.known() {
		if !c.Local {
			return status.Errorf(status.NoPerm, "%q may not read a mailbox without a login: it is not local", c.Info.RemoteIP)
		}
		d, err := s.open()
		if err != nil {
			return err
		}
		p.Account = &imap.Account{User: s.o.user, Dir: d}
	}
	if s.o.tls {
		t := tls.Server(c.Conn, s.config.TLS)
		hctx, cancel := context.WithTimeout(ctx, handshakeTime)
		defer cancel()
		if err := t.HandshakeContext(hctx); err != nil {
			return status.Errorf(status.Protocol, "TLS handshake: %w", err)
		}
		c.Conn, p.Secure = t, true
	}
	return s.config.Serve(ctx, c, p)
}

// login asks the post office.
func (s *server) login(user, password string) (*imap.Account, error) {
	box, err := s.office.Authenticate(user, password)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	d, err := box.Maildir()
	if err != nil {
		return nil, err
	}
	return &imap.Account{User: box.Address.String(), Dir: d}, nil
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
	fmt.Fprintln(s.trace, status.Escape(line, 600))
}

// prepare fills what all sessions have in common.
func (s *server) prepare() error {
	s.config = imap.Config{
		Plaintext:  s.o.plaintext,
		Log:        s.log,
		Mechanisms: sasl.Mechanisms(),
		SASL: func(mechanism string, check func(user, password string) error) (imap.Exchange, bool) {
			return sasl.NewServer(mechanism, check)
		},
	}
	if s.office != nil {
		s.config.Login = s.login
	}
	if s.o.verbose {
		s.config.Trace = s.print
	}
	return s.prepareTLS()
}

// prepareTLS says where the certificate is. It is read for each handshake, so that a renewed one is used at
// once and a session without TLS costs nothing.
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
	s.config.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"imap"}, // who asks for another protocol is at the wrong port
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
