package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/certificate"
	"pennypost/internal/dialog"
	"pennypost/internal/serve"
	"pennypost/internal/status"
)

// scripted are connections on which a script is followed.
type scripted struct {
	name     string
	sessions [][]dialog.Step
	tls      *tls.Config
	o        options
	begun    atomic.Int64
	failed   atomic.Pointer[dialog.Mismatch]
	trouble  atomic.Pointer[status.Error]
}

// runScript serves connections by the sessions of the script in turn. The only connection decides the exit status: 1 when
// the client did not keep to the script.
func runScript(cmd *cobra.Command, o options) error {
	if len(o.command) > 0 {
		return cli.Usagef("--script answers by itself: a command has no part in it")
	}
	s := &scripted{name: o.script, o: o}
	if err := s.read(); err != nil {
		return err
	}
	var err error
	if s.tls, err = o.pair.Config(nil, o.name, "smtp"); err != nil {
		return err
	}
	if s.tls == nil && s.needsTLS() {
		return cli.Usagef("the script changes to TLS: give --cert and --key")
	}
	log := cli.Logger(cmd)
	err = serve.Run(cmd.Context(), *o.serve, func(ctx context.Context, c *serve.Conn) {
		if err := s.serve(ctx, cmd, c); err != nil {
			peer := c.Info.RemoteIP
			if peer == "" {
				peer = "local"
			}
			log.Warn("script not kept to", "peer", peer, "script", o.script, "err", err)
			if c.Name == "" {
				s.note(err)
			}
		}
	})
	switch {
	case err != nil:
		return err
	case s.failed.Load() != nil:
		return &cli.ExitError{Status: 1}
	case s.trouble.Load() != nil:
		return s.trouble.Load()
	}
	return nil
}

// note keeps what became of the only connection.
func (s *scripted) note(err error) {
	var m *dialog.Mismatch
	if errors.As(err, &m) {
		s.failed.Store(m)
		return
	}
	s.trouble.Store(status.Of(err))
}

// read reads the script, and refuses one that a server cannot follow.
func (s *scripted) read() error {
	f, err := os.Open(s.name)
	if err != nil {
		return status.Errorf(status.NoInput, "read the script: %w", err)
	}
	defer f.Close()
	steps, err := dialog.Parse(f)
	if err != nil {
		return cli.Usagef("%s: %w", s.name, err)
	}
	for _, step := range steps {
		if step.Kind == dialog.Pattern && step.Side == dialog.Server {
			return cli.Usagef("%s: line %d: a pattern can be awaited, not said", s.name, step.Number)
		}
	}
	if s.sessions = dialog.Sessions(steps); len(s.sessions) == 0 {
		return cli.Usagef("%s: no step in it", s.name)
	}
	return nil
}

func (s *scripted) needsTLS() bool {
	for _, steps := range s.sessions {
		for _, step := range steps {
			if step.Kind == dialog.TLS {
				return true
			}
		}
	}
	return s.o.tls
}

// serve follows the next session of the script on c.
func (s *scripted) serve(ctx context.Context, cmd *cobra.Command, c *serve.Conn) error {
	p := dialog.Player{Side: dialog.Server, Patience: s.o.timeout}
	p.StartTLS = func(ctx context.Context, c net.Conn) (net.Conn, error) {
		t, err := certificate.Handshake(ctx, c, s.tls)
		if err != nil {
			return nil, err
		}
		return t, nil
	}
	if s.o.verbose {
		p.Played = func(step dialog.Step) { fmt.Fprintln(cmd.ErrOrStderr(), status.Escape(step.String(), 2048)) }
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.total)
	defer cancel()
	var conn net.Conn = c.Conn
	if s.o.tls {
		var err error
		if conn, err = p.StartTLS(ctx, conn); err != nil {
			return err
		}
	}
	n := s.begun.Add(1) - 1
	err := p.Play(ctx, conn, s.sessions[n%int64(len(s.sessions))], s.o.tls)
	p.Conn().Close()
	return err
}
