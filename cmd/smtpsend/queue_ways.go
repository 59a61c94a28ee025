package main

import (
	"os"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/relay"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// wayOptions are the flags of run about ways that one message does not need.
type wayOptions struct {
	fallback           []string
	transports, remote string
	tlsReport          string
}

func (w *wayOptions) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&w.fallback, "fallback", nil, "when --server does not take a message, try this `URL` (repeatable, in order)")
	f.StringVar(&w.transports, "transports", "", "send by the lines of `FILE`, a domain and a URL, mx or remote PROGRAM; else as without it")
	f.StringVar(&w.remote, "remote", "", "send by `PROGRAM`, which has the interface of qmail-remote")
	f.StringVar(&w.tlsReport, "tls-report", "", "append a line of JSON to `FILE` for each attempt that says something about TLS (RFC 8460)")
}

// route makes the sender's router one of these ways.
func (w *wayOptions) route(s *sender, o options) error {
	for _, url := range w.fallback {
		server, ok := s.router.(relay.Fixed)
		if !ok || s.endpoint == nil {
			return cli.Usagef("--fallback needs a --server before it")
		}
		h, err := s.named(url, true)
		if err != nil {
			return err
		}
		s.router = append(server, h)
	}
	if w.remote != "" {
		if s.endpoint != nil || s.command != "" {
			return cli.Usagef("--remote goes neither with --server nor with --pipe")
		}
		s.router = relay.ByProgram{Program: w.remote}
	}
	if w.transports == "" {
		return nil
	}
	f, err := os.Open(w.transports)
	if err != nil {
		return status.Errorf(status.Config, "read the transports: %w", err)
	}
	defer f.Close()
	way := func(words []string) (relay.Router, error) { return s.way(words, o) }
	t, err := relay.ReadTransports(f, way, s.router)
	if err != nil {
		return status.Errorf(status.Config, "%s: %w", w.transports, err)
	}
	s.router = t
	return nil
}

// named is the hop of a URL. Only to those of the command line we log in.
func (s *sender) named(url string, login bool) (relay.Hop, error) {
	ep, err := smtp.ParseURL(url)
	if err != nil {
		return relay.Hop{}, cli.Usagef("%w", err)
	}
	o := s.smtp
	o.LMTP, o.TLS = ep.LMTP, ep.TLS
	o.TLSConfig = o.TLSConfig.Clone()
	o.TLSConfig.ServerName = ep.Host
	if !login {
		o.Auth = nil
	}
	return s.hop(ep, o), nil
}

// way is what the words behind a domain mean: URLs in order, mx, or remote PROGRAM.
func (s *sender) way(words []string, o options) (relay.Router, error) {
	switch {
	case words[0] == "mx" && len(words) == 1:
		r := s.resolver
		if r == nil {
			var err error
			if r, err = o.resolver(); err != nil {
				return nil, err
			}
		}
		return s.byMX(o, r)
	case words[0] == "remote" && len(words) == 2:
		return relay.ByProgram{Program: words[1]}, nil
	}
	var hops relay.Fixed
	for _, w := range words {
		h, err := s.named(w, false)
		if err != nil {
			return nil, err
		}
		hops = append(hops, h)
	}
	return hops, nil
}

// reporter writes to the file of --tls-report, nil without it.
func (w *wayOptions) reporter(s *sender) (func(relay.Attempt), error) {
	if w.tlsReport == "" {
		return nil, nil
	}
	f, err := os.OpenFile(w.tlsReport, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, status.Errorf(status.CantCreate, "open the report about TLS: %w", err)
	}
	s.close = append(s.close, f.Close)
	return relay.NewTLSReporter(f).Tried, nil
}
