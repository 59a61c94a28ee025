// Package route says where mail for a domain goes: the hosts to try, best
// first, with their addresses.
//
// It hides the rules of RFC 5321 section 5.1 (preferences, equal ones in random
// order, a domain without MX is its own exchanger), of RFC 7505 (a null MX takes
// no mail), the ways to name a host directly, the order of addresses (RFC 6724),
// and what TLS a host has to offer by DANE (RFC 7672) and MTA-STS (RFC 8461). It
// guarantees that every target that may be tried has at least one address (but
// see Options.NamesOnly), and
// that "there is no way" is said only when the DNS said so: all doubt is
// temporary.
package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

const (
	// DefaultPort is where mail is delivered between hosts.
	DefaultPort = 25
	// maxHosts is how many exchangers of one domain are looked at, best first:
	// the list comes from outside and each costs two questions.
	maxHosts = 64
	// parallel is how many of them are asked for at the same time.
	parallel = 8
)

// ErrNoMail is what errors.Is finds in the error about a domain that exists but
// takes no mail: a null MX, or no address anywhere.
var ErrNoMail = errors.New("accepts no mail")

// ErrPolicy is that a policy of the domain leaves no host, or forbids this one.
var ErrPolicy = errors.New("policy leaves no host to send to")

// ErrOwn is that mail would come back to us.
var ErrOwn = errors.New("mail would loop back to this host")

// Target is one host that mail for a domain may go to.
type Target struct {
	// Host is a domain name in A-labels and lower case without a final dot, or
	// an address literal such as [192.0.2.1].
	Host       string
	Preference int
	Port       int
	// Addresses are in the order to try them (RFC 6724). Only a refused target
	// may have none.
	Addresses []netip.Addr
	// Implicit tells that the domain has no MX and stands for itself.
	Implicit bool
	// Authentic tells that the DNS vouched for the way from the domain to this
	// host and for its addresses (DNSSEC).
	Authentic bool
	// Flags are what is remarkable about the host.
	Flags []Flag
	// TLS is what a connection to the host has to be like, and Why is the
	// reason in words. Without Options.Policy it is Opportunistic or Refused.
	TLS Demand
	Why string
	// DANE is what to verify the host by if TLS is DANE.
	DANE *DANE
	// Err is why a Refused target is: a *resolver.Error, ErrPolicy or ErrOwn.
	Err error
}

// Flag is a remarkable fact about a host or its addresses.
type Flag string

// What can be remarked about a host.
const (
	FlagCNAME     Flag = "cname"      // the name is an alias, against RFC 2181 section 10.3
	FlagLiteral   Flag = "literal"    // an IP address stands where a name must
	FlagNoAddress Flag = "no-address" // the name has no address, or does not exist
	FlagPrivate   Flag = "private"    // an address is of a private network (RFC 1918, RFC 4193) or link-local
	FlagLoopback  Flag = "loopback"   // an address is this machine or no host at all
	FlagOwn       Flag = "own"        // it is us, by name or address
)

// Options narrow the search. The zero value is what a sending host wants that
// takes TLS where it is offered.
type Options struct {
	Port int // 0 means 25; a port written with the host counts for more
	// Only4 and Only6 leave out the addresses of the other family, and hosts
	// that then have none.
	Only4, Only6 bool
	// NamesOnly takes exchangers as the MX records name them, without asking for
	// their addresses. It does not go with Policy.
	NamesOnly bool
	// SomeAddress is enough: if a host has an IPv4 address, its IPv6 addresses
	// are not asked for.
	SomeAddress bool
	// Seed makes the order of equal preferences repeatable; 0 draws one.
	Seed uint64
	// Skipped, if set, is told of each exchanger that has no address, or whose
	// addresses or TLSA records could not be found out.
	Skipped func(host string, err error)
	// Explain fills in Plan.Reasons.
	Explain bool
	// Policy asks for DANE, for MTA-STS if STS is set, and for the domain's
	// wish for reports (RFC 8460).
	Policy bool
	STS    PolicySource
	// OwnNames (A-labels, lower case) and OwnAddresses are us: mail is not sent
	// there nor to a host that is no better (RFC 5321 section 5.1).
	OwnNames     []string
	OwnAddresses []netip.Addr
	// Source tells from which address of ours packets to an address go, or the
	// zero Addr if there is no way. Nil asks the kernel.
	Source func(netip.Addr) netip.Addr
}

// Plan is all that was found out about the way to a domain.
type Plan struct {
	Domain string // as it was written, fit to print
	Name   string // in A-labels; empty for an address literal
	// Expanded is where the MX records stand after CNAMEs of the domain; empty
	// if they were not looked for.
	Expanded string
	// Authentic tells that the DNS vouched for the list of hosts (DNSSEC), or
	// that the host was written by the user.
	Authentic bool
	// Targets are all hosts, best first, those that are Refused too.
	Targets []Target
	// STS is the MTA-STS policy in force, nil if there is none; STSErr is why
	// there is none or why it could not be renewed.
	STS    *Policy
	STSErr error
	// Report is where the domain wants reports about TLS, nil for nowhere.
	Report *Report
	// Reasons are how it came to this, one sentence each, if Options.Explain is
	// set.
	Reasons []string

	explain bool
}

// Usable are the targets that may be tried, best first.
func (p *Plan) Usable() []Target {
	return slices.DeleteFunc(slices.Clone(p.Targets), func(t Target) bool { return t.TLS == Refused })
}

func (p *Plan) say(format string, a ...any) {
	if !p.explain {
		return
	}
	p.Reasons = append(p.Reasons, fmt.Sprintf(format, a...)+".")
}

// Lookup finds the targets for a domain that may be tried, best first. The
// domain and the errors are those of Find.
func Lookup(ctx context.Context, r *resolver.Resolver, domain string, o Options) ([]Target, error) {
	p, err := Find(ctx, r, domain, o)
	if err != nil {
		return nil, err
	}
	return p.Usable(), nil
}

// Find finds out the way to a domain. The domain may be a name
// (internationalised too, with or without final dot), or an address literal; and
// to go past MX records to one host: HOST:PORT, [HOST], [HOST]:PORT, where HOST
// is a name or an IP address.
//
// The plan is never nil: with an error it holds what was found until then.
// Errors are *status.Error and mean that no target may be tried. Permanent: no
// such domain (550 5.1.2), null MX (556 5.1.10) and no address (550 5.4.4), the
// last two with ErrNoMail, and that we are its best exchanger (550 5.4.6), with
// ErrOwn. Temporary: DNS trouble (451 4.4.3), and that policy refuses all hosts
// (451 4.7.5), with ErrPolicy.
func Find(ctx context.Context, r *resolver.Resolver, domain string, o Options) (*Plan, error) {
	p := &Plan{Domain: shown(domain), explain: o.Explain}
	d, err := parse(domain)
	if err != nil {
		return p, status.Errorf(status.NoHost, "%s: not a domain: %w", p.Domain, err)
	}
	p.Name = d.name
	l := &lookup{Plan: p, resolver: r, options: o, port: cmp.Or(d.port, o.Port, DefaultPort)}
	if err := l.hosts(ctx, d); err != nil {
		return p, err
	}
	l.leaveOwn()
	if o.Policy && !d.direct {
		l.mtaSTS(ctx)
		l.reports(ctx)
	}
	if o.Explain {
		l.conclude()
	}
	return p, l.verdict()
}

// lookup is one call of Find on its way.
type lookup struct {
	*Plan
	resolver *resolver.Resolver
	options  Options
	port     int
}

func shown(domain string) string { return status.Escape(domain, envelope.MaxDomain) }

// verdict is nil if a target may be tried, else the fate of the domain. Doubt
// about one host is doubt about all.
func (l *lookup) verdict() error {
	var own, policy bool
	for _, t := range l.Targets {
		if t.TLS != Refused {
			return nil
		}
		own, policy = own || errors.Is(t.Err, ErrOwn), policy || errors.Is(t.Err, ErrPolicy)
	}
	for _, t := range l.Targets {
		if !errors.Is(t.Err, ErrOwn) && !errors.Is(t.Err, ErrPolicy) && temporary(t.Err) {
			return l.failure(t.Err)
		}
	}
	switch {
	case policy:
		return status.Errorf(status.Protocol, "%s: %w", l.Domain, ErrPolicy).WithReply(451, "4.7.5")
	case own:
		return status.Errorf(status.NoHost, "%s: %w", l.Domain, ErrOwn).WithReply(550, "5.4.6")
	case len(l.Targets) > 0 && l.Targets[0].Implicit:
		return l.noAddress("has neither a mail exchanger nor an address")
	case l.Expanded == "":
		return l.noAddress("has no address")
	}
	return l.noAddress("none of its mail exchangers has an address")
}

// failure is the fate of the domain when a question that matters went wrong.
func (l *lookup) failure(err error) error {
	switch kindOf(err) {
	case resolver.NXDomain, resolver.BadName:
		return status.Errorf(status.NoHost, "%s: no such domain", l.Domain)
	}
	return status.Errorf(status.TempFail, "%s: %w", l.Domain, err).WithReply(451, "4.4.3")
}

// noAddress is the fate of a domain that exists and cannot be reached. Its exit
// status is 68, not 69: mailpipe(7) takes 69 for something that passes.
func (l *lookup) noAddress(why string) error {
	return status.Errorf(status.NoHost, "%s: %w: %s", l.Domain, ErrNoMail, why).WithReply(550, "5.4.4")
}

// kindOf is how a question failed, 0 when it did not; what is no resolver.Error
// counts as a failure of the server.
func kindOf(err error) resolver.Kind {
	var e *resolver.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Kind
	}
	return resolver.ServFail
}

func temporary(err error) bool {
	var e *resolver.Error
	return !errors.As(err, &e) || e.Temporary()
}
