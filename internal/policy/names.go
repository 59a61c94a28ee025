package policy

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/status"
)

// Greeting is a client's HELO or EHLO.
type Greeting struct {
	Name   string     // what it said
	Peer   netip.Addr // who it is
	Server string     // what we call ourselves
}

// Accept is nil for the full name of a host and for an address literal of the client's own address (RFC 5321 section
// 4.1.3). Our own name is no name for anybody else. RFC 5321 section 4.1.4 forbids to refuse mail because the name does not
// belong to the client's address, and that is not looked at.
func (g Greeting) Accept() error {
	said := status.Escape(g.Name, 255)
	if strings.HasPrefix(g.Name, "[") {
		ip, ok := envelope.Address{Local: "x", Domain: g.Name}.IP()
		if ok && ip.Unmap() == g.Peer.Unmap() {
			return nil
		}
		return status.Errorf(status.NoPerm, "HELO %s: not your address", said)
	}
	name, err := hostName(g.Name)
	switch {
	case err != nil:
		return status.Errorf(status.NoPerm, "HELO %s: not the full name of a host (RFC 5321 section 4.1.1.1)", said)
	case strings.EqualFold(name, strings.TrimSuffix(g.Server, ".")):
		return status.Errorf(status.NoPerm, "HELO %s: that is me, not you", said)
	}
	return nil
}

// Exists is nil when the name that was said has an address, 550 5.7.1 when it has none, and 451 4.4.3 when the DNS does not
// tell. It is for a name that Accept has let through.
func (g Greeting) Exists(ctx context.Context, dns *resolver.Resolver) error {
	name, err := hostName(g.Name)
	if err != nil {
		return nil // an address literal
	}
	if a, err := (envelope.Address{Domain: name}).ASCII(); err == nil {
		name = a.Domain
	}
	_, err = dns.Addresses(ctx, name, true, true)
	var e *resolver.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && !e.Temporary():
		return status.Errorf(status.NoPerm, "HELO %s: %s", status.Escape(g.Name, 255), e.Kind)
	}
	return status.Errorf(status.TempFail, "HELO %s: %w", status.Escape(g.Name, 255), err).WithReply(451, "4.4.3")
}

// Sender is nil when mail to the sender's domain could be sent: a message that cannot be answered cannot be bounced either.
// The null sender and address literals pass, and so do domains for which local is true, without a question. A domain that
// says it sends and takes no mail is refused with 550 5.7.27 (RFC 7505 section 4.2), one that does not exist or has no
// host with 550 5.1.8; trouble with the DNS is 451 4.4.3.
func Sender(ctx context.Context, dns *resolver.Resolver, a envelope.Address, local func(domain string) bool) error {
	if a.Domain == "" || a.IsLiteral() || local(a.Domain) {
		return nil
	}
	_, err := route.Lookup(ctx, dns, a.Domain, route.Options{})
	e := status.Of(err)
	switch {
	case e == nil:
		return nil
	case e.Class != status.Permanent:
		return e
	case e.Enhanced == "5.1.10":
		return status.Errorf(status.NoPerm, "sender %s: %w", status.Escape(a.Path(), 300), err).WithReply(550, "5.7.27")
	}
	return status.Errorf(status.NoPerm, "sender %s: %w", status.Escape(a.Path(), 300), err).WithReply(550, "5.1.8")
}
