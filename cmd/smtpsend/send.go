package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/relay"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/route/sts"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// maxRoutes is what is read of a table of routes, in bytes.
const maxRoutes = 64 << 20

// sender sends messages one way.
type sender struct {
	smtp     smtp.Options
	endpoint *smtp.Endpoint
	command  string
	resolver *resolver.Resolver // nil = the system's, for an endpoint
	stderr   io.Writer
	router   relay.Router
	relay    *relay.Relay
	close    []func() error

	envelope *envelope.Envelope
	name     string          // of the message's file, with --messages
	results  []relay.Outcome // one for each recipient
}

// route chooses the router: a server, a command, a table of routes, or the mail exchangers.
func (s *sender) route(o options, stdin io.Reader) (err error) {
	switch {
	case s.endpoint != nil:
		s.router = relay.Fixed{s.hop(*s.endpoint, s.smtp)}
	case s.command != "":
		s.smtp.TLS = smtp.TLSNone // nobody is between us and our child
		s.router = relay.Fixed{{Name: "pipe", Dial: s.dialPipe, Options: s.smtp}}
	case o.routes != "":
		table := &relay.ByTable{Client: s.smtp}
		table.Routes, err = readRoutes(o.routes, stdin)
		s.router = table
	default:
		s.router, err = s.byMX(o, s.resolver)
	}
	return err
}

// byMX routes as mx(1) tells.
func (s *sender) byMX(o options, r *resolver.Resolver) (relay.Router, error) {
	policies := &sts.Source{Resolver: r}
	if o.stsCache != "" {
		dir, err := os.OpenRoot(o.stsCache)
		if err != nil {
			return nil, cli.Usagef("cache of policies: %w", err)
		}
		s.close = append(s.close, dir.Close)
		policies.Cache = dir
	}
	return &relay.ByMX{Resolver: r, Client: s.smtp, Search: route.Options{
		Port: o.port, Policy: true, STS: policies, Only4: o.network.four, Only6: o.network.six,
	}}, nil
}

// readRoutes reads the table of mx --routes from a file, or standard input.
func readRoutes(name string, stdin io.Reader) ([]route.Routes, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, status.Errorf(status.NoInput, "read the routes: %w", err)
		}
		defer f.Close()
		in = f
	}
	limited := &io.LimitedReader{R: in, N: maxRoutes + 1}
	routes, err := route.ReadRoutes(limited)
	switch {
	case limited.N == 0:
		return nil, status.Errorf(status.Config, "%s: more than %d bytes of routes", name, maxRoutes)
	case err != nil:
		return nil, status.Errorf(status.Config, "%s: %w", name, err)
	case len(routes) == 0:
		return nil, status.Errorf(status.Config, "%s: no routes in it", name)
	}
	return routes, nil
}

// send sends m and notes what became of each recipient.
func (s *sender) send(ctx context.Context, m *message.Message) {
	if err := smtp.Check(m, s.envelope.Body); err != nil {
		s.results = make([]relay.Outcome, len(s.envelope.Recipients))
		for i := range s.results {
			s.results[i].Err = status.Of(err)
		}
		return
	}
	s.results = s.relay.Send(ctx, m, s.envelope)
}

// open makes the relay, one that keeps connections for the next message when there is to be one.
func (s *sender) open(several bool) {
	o := relay.Options{Router: s.router, Reuse: several}
	if s.smtp.Transcript != nil {
		o.Parallel = 1 // dialogues one after the other
	}
	s.relay = relay.New(o)
	s.close = append(s.close, func() error { s.relay.Close(); return nil })
}

// hop is a server that was named by its URL, with what the URL says of TLS and LMTP in the options.
func (s *sender) hop(ep smtp.Endpoint, o smtp.Options) relay.Hop {
	dial := func(ctx context.Context) (net.Conn, error) { return s.dialEndpoint(ctx, ep) }
	return relay.Hop{Name: ep.Address, Dial: dial, Options: o}
}

// dialEndpoint connects to a server. With --zone or --resolver its name is asked there, else as the system does it.
func (s *sender) dialEndpoint(ctx context.Context, ep smtp.Endpoint) (net.Conn, error) {
	host, port, err := net.SplitHostPort(ep.Address)
	if _, bad := netip.ParseAddr(host); err != nil || bad == nil || s.resolver == nil {
		return s.smtp.Network.Dial(ctx, ep.Network, ep.Address)
	}
	found, err := s.resolver.Addresses(ctx, host, true, true)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, ip := range found.Records {
		c, err := s.smtp.Network.Dial(ctx, "tcp", net.JoinHostPort(ip.String(), port))
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}
