package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// sender sends one message. Exactly one way is set: endpoint, command, or neither for the mail exchangers.
type sender struct {
	smtp     smtp.Options
	endpoint *smtp.Endpoint
	command  string
	resolver *resolver.Resolver // nil = the system's, for an endpoint
	port     int
	stderr   io.Writer

	message  *message.Message
	envelope *envelope.Envelope
	results  []result // one for each recipient
}

// result is what became of a recipient, and at which host.
type result struct {
	host string
	smtp.Outcome
}

// all are the indices of all recipients.
func (s *sender) all() []int {
	all := make([]int, len(s.envelope.Recipients))
	for i := range all {
		all[i] = i
	}
	return all
}

func (s *sender) send(ctx context.Context) {
	switch {
	case s.endpoint != nil:
		s.attempt(ctx, s.endpoint.Address, s.smtp, s.dialEndpoint, s.all())
	case s.command != "":
		o := s.smtp
		o.TLS = smtp.TLSNone // nobody is between us and our child
		s.attempt(ctx, "pipe", o, s.dialPipe, s.all())
	default:
		for _, domain := range s.domains() {
			s.exchangers(ctx, domain.name, domain.recipients)
		}
	}
}

// group is recipients of one domain.
type group struct {
	name       string
	recipients []int
}

// domains groups the recipients, in the order in which the domains come first.
func (s *sender) domains() []*group {
	var groups []*group
	known := make(map[string]*group)
	for i, a := range s.envelope.Recipients {
		ascii, err := a.ASCII()
		if err == nil && ascii.Domain == "" {
			err = status.Errorf(status.NoHost, "an address without a domain has no mail exchanger")
		}
		if err != nil {
			s.fail([]int{i}, "", status.Of(err))
			continue
		}
		g := known[ascii.Domain]
		if g == nil {
			g = &group{name: ascii.Domain}
			known[ascii.Domain], groups = g, append(groups, g)
		}
		g.recipients = append(g.recipients, i)
	}
	return groups
}

// exchangers tries the hosts of a domain in order, every address of each, until no recipient is left that another host
// might still take (RFC 5321 section 5.1).
func (s *sender) exchangers(ctx context.Context, domain string, todo []int) {
	targets, err := route.Lookup(ctx, s.resolver, domain, route.Options{Port: s.port})
	if err != nil {
		s.fail(todo, "", status.Of(err))
		return
	}
	for _, t := range targets {
		for _, ip := range t.Addresses {
			if len(todo) == 0 {
				return
			}
			ap := netip.AddrPortFrom(ip, uint16(t.Port))
			o := s.smtp
			o.TLSConfig = o.TLSConfig.Clone()
			o.TLSConfig.ServerName = strings.Trim(t.Host, "[]")
			todo = s.attempt(ctx, shown(t, ip), o, o.Network.Dialer("tcp", ap.String()), todo)
		}
	}
}

// shown is a host as the report names it: mx.example.org[192.0.2.1], with the port when it is not 25.
func shown(t route.Target, ip netip.Addr) string {
	name := t.Host
	if literal := envelope.Literal(ip); name != literal {
		name += "[" + ip.String() + "]"
	}
	if t.Port != route.DefaultPort {
		name += ":" + strconv.Itoa(t.Port)
	}
	return name
}

// attempt sends to some recipients through one connection and returns those that may be tried elsewhere: not those that
// were refused for good, and not those whose message may have been taken though the connection was lost.
func (s *sender) attempt(ctx context.Context, host string, o smtp.Options, dial smtp.Dialer, todo []int) (again []int) {
	o.Transcript.Remark("%s", host)
	c, err := smtp.Connect(ctx, dial, o)
	if err != nil {
		s.fail(todo, host, status.Of(err))
		if ctx.Err() != nil {
			return nil
		}
		return todo
	}
	for i, got := range c.Send(ctx, s.message, s.envelope.For(todo...)) {
		s.results[todo[i]] = result{host, got}
		if got.Err != nil && got.Err.Class == status.Temporary && !got.Unsure && ctx.Err() == nil {
			again = append(again, todo[i])
		}
	}
	c.Quit(ctx)
	return again
}

// fail notes a failure that is not of one recipient. What a server said to a recipient before says more than that the
// next server could not be reached.
func (s *sender) fail(list []int, host string, e *status.Error) {
	for _, i := range list {
		if s.results[i].Reply.Code/100 != 4 || e.Class != status.Temporary {
			s.results[i] = result{host, smtp.Outcome{Err: e}}
		}
	}
}

// dialEndpoint connects to --server. With --zone or --resolver its name is asked there, else as the system does it.
func (s *sender) dialEndpoint(ctx context.Context) (net.Conn, error) {
	host, port, err := net.SplitHostPort(s.endpoint.Address)
	if _, bad := netip.ParseAddr(host); err != nil || bad == nil || s.resolver == nil {
		return s.smtp.Network.Dial(ctx, s.endpoint.Network, s.endpoint.Address)
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
