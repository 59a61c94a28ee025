// Package route says where mail for a domain goes: the hosts to try, best
// first, with their addresses.
//
// It hides the rules of RFC 5321 section 5.1 (preferences, equal ones in random
// order, a domain without MX is its own exchanger), of RFC 7505 (a null MX takes
// no mail) and the ways to name a host directly. It guarantees that every target
// it returns has at least one address, and that "there is no way" is said only
// when the DNS said so: all doubt is temporary.
package route

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"

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

// Target is one host to try.
type Target struct {
	// Host is a domain name in A-labels and lower case without a final dot, or
	// an address literal such as [192.0.2.1].
	Host       string
	Preference int
	Port       int
	// Addresses has at least one element, IPv4 before IPv6.
	Addresses []netip.Addr
	// Implicit tells that the domain has no MX and stands for itself.
	Implicit bool
}

// Options narrow the search. The zero value is what a sending host wants.
type Options struct {
	Port int // 0 means 25; a port written with the host counts for more
	// Only4 and Only6 leave out the addresses of the other family, and hosts
	// that then have none.
	Only4, Only6 bool
	// Seed makes the order of equal preferences repeatable; 0 draws one.
	Seed uint64
	// Skipped, if set, is told of each exchanger left out and why.
	Skipped func(host string, err error)
}

// Lookup finds the targets for a domain, best first. The domain may be a name
// (internationalised too, with or without final dot), or an address literal; and
// to go past MX records to one host: HOST:PORT, [HOST], [HOST]:PORT, where HOST
// is a name or an IP address.
//
// Errors are *status.Error. Permanent: no such domain (550 5.1.2), null MX (556
// 5.1.10) and no address (550 5.4.4), the last two with ErrNoMail. Temporary: DNS
// trouble (451 4.4.3).
func Lookup(ctx context.Context, r *resolver.Resolver, domain string, o Options) ([]Target, error) {
	d, err := parse(domain)
	if err != nil {
		return nil, status.Errorf(status.NoHost, "%s: not a domain: %w", shown(domain), err)
	}
	l := lookup{resolver: r, options: o, domain: shown(domain), port: cmp.Or(d.port, o.Port, DefaultPort)}
	switch {
	case d.addr.IsValid():
		return l.literal(d.addr)
	case d.direct:
		return l.itself(ctx, d.name, false)
	}
	found, err := r.MX(ctx, d.name)
	switch kindOf(err) {
	case 0:
		return l.exchangers(ctx, found.Records)
	case resolver.NoData:
		return l.itself(ctx, strings.TrimSuffix(found.Name, "."), true)
	}
	return nil, l.failure(err)
}

// lookup is one call of Lookup on its way.
type lookup struct {
	resolver *resolver.Resolver
	options  Options
	domain   string // as the user wrote it, fit to print
	port     int
}

func shown(domain string) string { return status.Escape(domain, envelope.MaxDomain) }

// literal is the route to an address given as such.
func (l lookup) literal(ip netip.Addr) ([]Target, error) {
	if l.options.Only4 && !ip.Is4() || l.options.Only6 && !ip.Is6() {
		return nil, l.noAddress("not an address of the family asked for")
	}
	return []Target{{Host: envelope.Literal(ip), Port: l.port, Addresses: []netip.Addr{ip}}}, nil
}

// itself is the route to one host without a look at MX records.
func (l lookup) itself(ctx context.Context, host string, implicit bool) ([]Target, error) {
	found, err := l.addresses(ctx, host)
	switch kindOf(err) {
	case 0:
		return []Target{{Host: host, Port: l.port, Addresses: found, Implicit: implicit}}, nil
	case resolver.NoData:
		if implicit {
			return nil, l.noAddress("has neither a mail exchanger nor an address")
		}
		return nil, l.noAddress("has no address")
	}
	return nil, l.failure(err)
}

// exchangers is the route through MX records, of which there is at least one.
func (l lookup) exchangers(ctx context.Context, records []resolver.MX) ([]Target, error) {
	if !slices.ContainsFunc(records, func(mx resolver.MX) bool { return mx.Host != "." }) {
		e := status.Errorf(status.NoHost, "%s: %w (null MX)", l.domain, ErrNoMail)
		return nil, e.WithReply(556, "5.1.10")
	}
	targets := l.ordered(records)
	errs := l.resolveAll(ctx, targets)
	var usable []Target
	var doubt error
	for i, t := range targets {
		if errs[i] == nil {
			usable = append(usable, t)
			continue
		}
		if doubt == nil && temporary(errs[i]) {
			doubt = errs[i]
		}
		if l.options.Skipped != nil {
			l.options.Skipped(t.Host, errs[i])
		}
	}
	switch {
	case len(usable) > 0:
		return usable, nil
	case doubt != nil:
		return nil, l.failure(doubt)
	}
	return nil, l.noAddress("none of its mail exchangers has an address")
}

// ordered turns records into targets, best first, each host once at its best
// preference. Equal preferences are shuffled to spread the load (RFC 5321
// section 5.1), starting from a fixed order so that a seed repeats the result
// whatever order the server chose. A host that is the root is none (RFC 7505
// section 3).
func (l lookup) ordered(records []resolver.MX) []Target {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b resolver.MX) int {
		return cmp.Or(cmp.Compare(a.Preference, b.Preference), cmp.Compare(a.Host, b.Host))
	})
	var targets []Target
	seen := map[string]bool{".": true}
	for _, mx := range records {
		if !seen[mx.Host] {
			seen[mx.Host] = true
			targets = append(targets, Target{
				Host: strings.TrimSuffix(mx.Host, "."), Preference: int(mx.Preference), Port: l.port,
			})
		}
	}
	seed := l.options.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	dice := rand.New(rand.NewPCG(seed, 0))
	dice.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	slices.SortStableFunc(targets, func(a, b Target) int { return cmp.Compare(a.Preference, b.Preference) })
	return targets[:min(len(targets), maxHosts)]
}

// resolveAll fills in the addresses; the errors are in the order of targets.
func (l lookup) resolveAll(ctx context.Context, targets []Target) []error {
	errs := make([]error, len(targets))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			targets[i].Addresses, errs[i] = l.addresses(ctx, targets[i].Host)
		})
	}
	wg.Wait()
	return errs
}

func (l lookup) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	a, err := l.resolver.Addresses(ctx, host, !l.options.Only6, !l.options.Only4)
	return a.Records, err
}

// failure is the fate of the domain when a question that matters went wrong.
func (l lookup) failure(err error) error {
	switch kindOf(err) {
	case resolver.NXDomain, resolver.BadName:
		return status.Errorf(status.NoHost, "%s: no such domain", l.domain)
	}
	return status.Errorf(status.TempFail, "%s: %w", l.domain, err).WithReply(451, "4.4.3")
}

// noAddress is the fate of a domain that exists and cannot be reached. Its exit
// status is 68, not 69: mailpipe(7) takes 69 for something that passes.
func (l lookup) noAddress(why string) error {
	return status.Errorf(status.NoHost, "%s: %w: %s", l.domain, ErrNoMail, why).WithReply(550, "5.4.4")
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
