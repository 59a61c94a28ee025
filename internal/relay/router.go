package relay

import (
	"context"
	"crypto/tls"
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

// A Router says which way mail goes.
type Router interface {
	// Destination is what recipients that go one way have in common: a domain in A-labels, or the name of a server. An error
	// is about the recipient.
	Destination(a envelope.Address) (string, error)
	// Hops are the places to try for a destination, best first. Errors are *status.Error.
	Hops(ctx context.Context, destination string) ([]Hop, error)
}

// A Hop is one place to try.
type Hop struct {
	Name    string // for people: "mx.example.org[192.0.2.1]"
	Dial    smtp.Dialer
	Options smtp.Options
	Refuse  error // why it must not be tried

	// Deliver takes the message instead of an SMTP server: a program, or the post office of this host. It returns one
	// Outcome for each recipient.
	Deliver func(ctx context.Context, m *message.Message, e *envelope.Envelope) []smtp.Outcome

	Target *route.Target // what is known of it, nil when it was named by hand
	Plan   *route.Plan   // of the domain, nil when there is none
}

// key tells which connections may be used for the hop: those that were made to the same end under the same demand.
func (h Hop) key() string {
	key := h.Name + " " + strconv.Itoa(int(h.Options.TLS))
	if t := h.Target; t != nil {
		key += " " + string(t.TLS)
		if t.DANE != nil {
			for _, r := range t.DANE.Records {
				key += " " + r.String()
			}
			key += " " + strings.Join(t.DANE.Names, " ")
		}
	}
	if h.Options.Verifies {
		key += " verified"
	}
	return key
}

// verified is the hop with a demand that satisfies REQUIRETLS: TLS with a certificate that was verified (RFC 8689 section
// 4.2.1). One that verifies anyway stays as it is.
func (h Hop) verified() Hop {
	if h.Options.TLS == smtp.TLSNone || h.Options.TLS == smtp.TLSImplicit || h.Options.Verifies {
		return h
	}
	if t := h.Target; t != nil && (t.TLS == route.ByDANE || t.TLS == route.STS) {
		return h
	}
	h.Options.TLS, h.Options.Verifies = smtp.TLSRequired, true
	h.Options.TLSConfig = h.Options.TLSConfig.Clone()
	h.Options.TLSConfig.InsecureSkipVerify = false
	h.Options.TLSConfig.VerifyConnection = nil
	return h
}

// tlsOptional says that the author of a message wants it delivered whatever the policies of its recipients' domains say of TLS
// (RFC 8689 sections 3 and 4.2.2).
func tlsOptional(m *message.Message) bool {
	h, err := m.Header()
	return err == nil && strings.EqualFold(h.Get("TLS-Required"), "no")
}

// relaxed is the hop without the demand of a policy: TLS when it is offered. What the user demands of a server stays.
func (h Hop) relaxed() Hop {
	if t := h.Target; t == nil || t.TLS != route.ByDANE && t.TLS != route.STS {
		return h
	}
	h.Options.TLS, h.Options.Verifies = smtp.TLSOffered, false
	return h
}

// ByMX routes by the mail exchangers of the recipients' domains and their policies: what mx(1) tells.
type ByMX struct {
	Resolver *resolver.Resolver
	Search   route.Options
	Client   smtp.Options // TLSConfig is not nil
}

// Destination is the domain in A-labels.
func (b *ByMX) Destination(a envelope.Address) (string, error) { return domainOf(a) }

func domainOf(a envelope.Address) (string, error) {
	ascii, err := a.ASCII()
	if err == nil && ascii.Domain == "" {
		err = status.Errorf(status.NoHost, "an address without a domain has no mail exchanger")
	}
	return strings.ToLower(ascii.Domain), err
}

// Hops are all addresses of all hosts.
func (b *ByMX) Hops(ctx context.Context, domain string) ([]Hop, error) {
	plan, err := route.Find(ctx, b.Resolver, domain, b.Search)
	if err != nil {
		return nil, err
	}
	var hops []Hop
	for _, t := range plan.Usable() {
		hops = append(hops, targetHops(t, b.Client, plan)...)
	}
	return hops, nil
}

// targetHops are the addresses of a host, with its demand for TLS made into options.
func targetHops(t route.Target, o smtp.Options, plan *route.Plan) []Hop {
	if t.TLS == route.Refused {
		return []Hop{{Name: t.Host, Target: &t, Plan: plan, Refuse: refused(t)}}
	}
	o = TargetOptions(t, o)
	var hops []Hop
	for _, ip := range t.Addresses {
		ap := netip.AddrPortFrom(ip, uint16(t.Port))
		hops = append(hops, Hop{Name: shown(t, ip), Dial: o.Network.Dialer("tcp", ap.String()), Options: o, Target: &t, Plan: plan})
	}
	return hops
}

// TargetOptions are o, whose TLSConfig is not nil and is left alone, with the demand of a target that is not refused.
func TargetOptions(t route.Target, o smtp.Options) smtp.Options {
	o.TLSConfig = o.TLSConfig.Clone()
	o.TLSConfig.ServerName = strings.Trim(t.Host, "[]")
	switch t.TLS {
	case route.Required:
		o.TLS, o.TLSConfig.InsecureSkipVerify = smtp.TLSRequired, true
	case route.STS:
		o.TLS = smtp.TLSRequired
	case route.ByDANE:
		// The records say what to trust, so no chain to a known authority is needed (RFC 7672 section 3.1), and SNI is
		// the name that they stand under (section 8.1).
		o.TLS, o.Verifies, o.TLSConfig.InsecureSkipVerify = smtp.TLSRequired, true, true
		o.TLSConfig.ServerName = t.DANE.Names[0]
		o.TLSConfig.VerifyConnection = func(cs tls.ConnectionState) error { return t.DANE.Verify(cs) }
	default:
		o.TLS = smtp.TLSOffered
	}
	return o
}

func refused(t route.Target) error {
	if t.Err != nil {
		return t.Err
	}
	return status.Errorf(status.Protocol, "%s: the routes refuse it", t.Host).WithReply(451, "4.7.5")
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

// ByTable routes by a table of mx(1) --routes, and recipients of domains that are not in it not at all.
type ByTable struct {
	Routes []route.Routes
	Client smtp.Options // TLSConfig is not nil
}

// Destination is the domain in A-labels.
func (b *ByTable) Destination(a envelope.Address) (string, error) { return domainOf(a) }

// Hops are the rows of the domain in their order.
func (b *ByTable) Hops(_ context.Context, domain string) ([]Hop, error) {
	for _, r := range b.Routes {
		if r.Domain != domain {
			continue
		}
		var hops []Hop
		for _, t := range r.Targets {
			hops = append(hops, targetHops(t, b.Client, nil)...)
		}
		return hops, nil
	}
	return nil, status.Errorf(status.Config, "the routes have no line for %s", status.Escape(domain, envelope.MaxDomain))
}

// Fixed sends everything the same way: to the hops, in order.
type Fixed []Hop

// Destination is the first hop, whoever the recipient is.
func (f Fixed) Destination(envelope.Address) (string, error) { return f[0].Name, nil }

// Hops are all of them.
func (f Fixed) Hops(context.Context, string) ([]Hop, error) { return f, nil }
