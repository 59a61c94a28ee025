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

// hosts fills in the targets with their addresses and flags, and with DANE where
// that is asked for.
func (l *lookup) hosts(ctx context.Context, d destination) error {
	if d.direct {
		l.Authentic = true
		l.say("%s is one host, MX records do not count", l.Domain)
		if d.addr.IsValid() {
			return l.literal(d.addr)
		}
		return l.itself(ctx, d.name, false)
	}
	found, err := l.resolver.MX(ctx, d.name)
	l.Expanded = strings.TrimSuffix(found.Name, ".")
	l.Authentic = found.Authentic
	if len(found.Chain) > 0 {
		l.say("%s is an alias of %s", l.Domain, l.Expanded)
	}
	switch kindOf(err) {
	case 0:
		return l.exchangers(ctx, found.Records)
	case resolver.NoData:
		l.say("%s has no MX record and so is its own mail exchanger", l.Expanded)
		return l.itself(ctx, l.Expanded, true)
	}
	return l.failure(err)
}

// literal is the route to an address given as such.
func (l *lookup) literal(ip netip.Addr) error {
	if l.options.Only4 && !ip.Is4() || l.options.Only6 && !ip.Is6() {
		return l.noAddress("not an address of the family asked for")
	}
	t := Target{Host: envelope.Literal(ip), Port: l.port, Authentic: true, TLS: Opportunistic, Addresses: []netip.Addr{ip}}
	t.Why = "an address has no policy"
	l.remark(&t)
	l.Targets = []Target{t}
	return nil
}

// itself is the route to one host without a look at MX records.
func (l *lookup) itself(ctx context.Context, host string, implicit bool) error {
	t := Target{Host: host, Port: l.port, Implicit: implicit}
	l.host(ctx, &t)
	l.Targets = []Target{t}
	if k := kindOf(t.Err); k == resolver.NXDomain || k == resolver.BadName {
		return l.failure(t.Err)
	}
	return nil
}

// exchangers is the route through MX records, of which there is at least one.
func (l *lookup) exchangers(ctx context.Context, records []resolver.MX) error {
	if !slices.ContainsFunc(records, func(mx resolver.MX) bool { return mx.Host != "." }) {
		l.say("%s has a null MX: it accepts no mail", l.Expanded)
		e := status.Errorf(status.NoHost, "%s: %w (null MX)", l.Domain, ErrNoMail)
		return e.WithReply(556, "5.1.10")
	}
	l.Targets = l.ordered(records)
	l.say("%s has %d mail exchanger(s)%s", l.Expanded, len(l.Targets), vouched(l.Authentic))
	l.all(ctx)
	for _, t := range l.Targets {
		if t.TLS == Refused && l.options.Skipped != nil {
			l.options.Skipped(t.Host, t.Err)
		}
	}
	return nil
}

// all looks at several hosts at a time.
func (l *lookup) all(ctx context.Context) {
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range l.Targets {
		if l.options.NamesOnly || i == len(l.Targets)-1 { // nothing to wait for, or beside
			l.host(ctx, &l.Targets[i])
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			l.host(ctx, &l.Targets[i])
		})
	}
	wg.Wait()
}

func vouched(authentic bool) string {
	if authentic {
		return ", authenticated by DNSSEC"
	}
	return ", not authenticated by DNSSEC"
}

// ordered turns records into targets, best first, each host once at its best
// preference. Equal preferences are shuffled to spread the load (RFC 5321
// section 5.1), starting from a fixed order so that a seed repeats the result
// whatever order the server chose. A host that is the root is none (RFC 7505
// section 3).
func (l *lookup) ordered(records []resolver.MX) []Target {
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

// host finds out all about one host but what MTA-STS says.
func (l *lookup) host(ctx context.Context, t *Target) {
	t.TLS, t.Why = Opportunistic, "no policy asks for more"
	if isAddress(t.Host) {
		t.flag(FlagLiteral)
		t.refuse(&resolver.Error{Kind: resolver.BadName, Name: t.Host, Type: "A", Err: errors.New("an address, not a name")})
		return
	}
	if l.options.NamesOnly && !t.Implicit {
		l.remark(t)
		return
	}
	found, err := l.addresses(ctx, t.Host)
	if len(found.Chain) > 0 && !t.Implicit && l.Expanded != "" {
		t.flag(FlagCNAME)
	}
	if err != nil {
		if !temporary(err) {
			t.flag(FlagNoAddress)
		}
		t.refuse(err)
		return
	}
	t.Authentic = l.Authentic && found.Authentic
	t.Addresses = sortAddresses(found.Records, l.options.Source)
	l.remark(t)
	if l.options.Policy {
		l.dane(ctx, t, found)
	}
}

// isAddress tells an IP address from a name, which almost never ends in a digit.
func isAddress(host string) bool {
	if last := host[max(0, len(host)-1):]; last < "0" || last > "9" && !strings.Contains(host, ":") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

func (l *lookup) addresses(ctx context.Context, host string) (resolver.Answer[netip.Addr], error) {
	both := !l.options.Only4 && !l.options.Only6
	if l.options.SomeAddress && both {
		if found, err := l.resolver.Addresses(ctx, host, true, false); err == nil {
			return found, nil
		}
	}
	return l.resolver.Addresses(ctx, host, !l.options.Only6, !l.options.Only4)
}

// remark flags what the name and the addresses of a target are.
func (l *lookup) remark(t *Target) {
	if slices.Contains(l.options.OwnNames, t.Host) {
		t.flag(FlagOwn)
	}
	for _, ip := range t.Addresses {
		switch {
		case ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast():
			t.flag(FlagLoopback)
		case ip.IsPrivate() || ip.IsLinkLocalUnicast():
			t.flag(FlagPrivate)
		}
		if slices.Contains(l.options.OwnAddresses, ip) {
			t.flag(FlagOwn)
		}
	}
}

func (t *Target) flag(f Flag) {
	if !slices.Contains(t.Flags, f) {
		t.Flags = append(t.Flags, f)
	}
}

// refuse takes a target out of the running.
func (t *Target) refuse(err error) {
	t.TLS, t.Why, t.Err, t.DANE = Refused, err.Error(), err, nil
}

// leaveOwn refuses ourselves and every host that is no better: they would hand
// the mail back to us (RFC 5321 section 5.1).
func (l *lookup) leaveOwn() {
	best := -1
	for _, t := range l.Targets {
		if slices.Contains(t.Flags, FlagOwn) && (best < 0 || t.Preference < best) {
			best = t.Preference
		}
	}
	if best < 0 {
		return
	}
	for i := range l.Targets {
		t := &l.Targets[i]
		if t.Preference < best {
			continue
		}
		t.refuse(ErrOwn)
		t.Why = "this is us"
		if !slices.Contains(t.Flags, FlagOwn) {
			t.Why = "it is no better than we are"
		}
	}
}
