package route

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"pennypost/internal/resolver"
)

// Demand is what a connection to a host must be like before mail may go over it.
type Demand string

// The demands. Refused is not to connect at all.
const (
	Opportunistic Demand = "opportunistic" // TLS if it is offered, not verified (RFC 7435)
	Required      Demand = "required"      // TLS, not verified
	STS           Demand = "sts"           // TLS, with a certificate for the host from a known authority (RFC 8461)
	ByDANE        Demand = "dane"          // TLS, verified by DANE records (RFC 7672)
	Refused       Demand = "refused"
)

var demands = []Demand{Opportunistic, Required, STS, ByDANE, Refused}

// mtaSTS applies the MTA-STS policy of the domain to hosts that DANE does not
// decide about: DANE comes first (RFC 8461 section 2).
func (l *lookup) mtaSTS(ctx context.Context) {
	if l.options.STS == nil {
		return
	}
	l.STS, l.STSErr = l.options.STS.Policy(ctx, l.Name)
	switch {
	case l.STS == nil && l.STSErr != nil:
		l.say("MTA-STS does not count: %v", l.STSErr)
	case l.STS == nil:
		l.say("%s has no MTA-STS policy", l.Name)
		return
	case l.STSErr != nil:
		l.say("The MTA-STS policy could not be renewed, the one kept still holds: %v", l.STSErr)
	}
	if l.STS == nil {
		return
	}
	l.say("The MTA-STS policy of %s is %s for %s", l.Name, l.STS.Mode, strings.Join(l.STS.MX, ", "))
	for i := range l.Targets {
		l.STS.apply(&l.Targets[i])
	}
}

func (p *Policy) apply(t *Target) {
	if t.TLS == Refused || t.TLS == ByDANE || p.Mode == ModeNone {
		return
	}
	match := p.Match(t.Host)
	switch {
	case p.Mode == ModeTesting && match:
		t.Why += "; the MTA-STS policy is only being tested"
	case p.Mode == ModeTesting:
		t.Why += "; the MTA-STS policy, only being tested, does not name it"
	case match:
		t.TLS, t.Why = STS, "the MTA-STS policy names it"
	default:
		t.refuse(ErrPolicy)
		t.Why = "the MTA-STS policy does not name it"
	}
}

// reports looks for the TLS-RPT record (RFC 8460 section 3).
func (l *lookup) reports(ctx context.Context) {
	found, err := l.resolver.TXT(ctx, "_smtp._tls."+l.Name)
	if err != nil {
		if temporary(err) {
			l.say("Whether it wants reports about TLS is unknown: %v", err)
		}
		return
	}
	report, err := ParseReport(found.Records)
	switch {
	case err != nil:
		l.say("The record about reports does not count: %v", err)
	case report != nil:
		l.Report = report
		l.say("Reports about TLS go to %s", strings.Join(report.To, ", "))
	}
}

// conclude says in words what became of each host.
func (l *lookup) conclude() {
	for _, t := range l.Targets {
		for _, f := range t.Flags {
			l.say("%s", flagText(t.Host, f))
		}
		switch t.TLS {
		case Refused:
			l.say("%s is not tried: %s", t.Host, t.Why)
			continue
		case Opportunistic:
			l.say("%s is tried with TLS if it offers it: %s", t.Host, t.Why)
		case Required:
			l.say("%s is tried with TLS, which is not verified: %s", t.Host, t.Why)
		case STS:
			l.say("%s is tried with TLS and a certificate that names it: %s", t.Host, t.Why)
		case ByDANE:
			l.say("%s is tried with TLS that is verified by DANE: %s", t.Host, t.Why)
		}
		var list []string
		for _, ip := range t.Addresses {
			list = append(list, ip.String())
		}
		l.say("%s has the address(es) %s%s", t.Host, strings.Join(list, ", "), vouched(t.Authentic))
	}
}

func flagText(host string, f Flag) string {
	return host + " " + map[Flag]string{
		FlagCNAME:     "is an alias, which a mail exchanger must not be (RFC 2181 section 10.3)",
		FlagLiteral:   "is an address where a name must stand",
		FlagNoAddress: "has no address",
		FlagPrivate:   "has an address of a private network",
		FlagLoopback:  "has an address that leads to no other host",
		FlagOwn:       "is this host",
	}[f]
}

// dane decides by DANE (RFC 7672 section 2.2): what the DNS does not vouch for
// is no reason for anything, trouble on the way is a reason to stay away
// (section 2.1.2).
func (l *lookup) dane(ctx context.Context, t *Target, found resolver.Answer[netip.Addr]) {
	name := t.Host
	switch {
	case t.Implicit && l.Name != t.Host:
		// The domain is an alias of the host: that is a chain too.
		name = l.Name
		var err error
		if found, err = l.addresses(ctx, name); err != nil {
			t.refuse(err)
			return
		}
	case !l.Authentic && !t.Implicit:
		t.Why = "no DANE, since the way to it is not authenticated"
		return
	}
	bases, err := l.bases(ctx, name, found)
	if err != nil {
		t.refuse(err)
		return
	}
	t.Why = "no DANE, since its addresses are not authenticated"
	for _, base := range bases {
		records, err := l.resolver.TLSA(ctx, tlsaName(t.Port, base))
		if err != nil && temporary(err) {
			t.refuse(err)
			return
		}
		if err == nil && records.Authentic {
			l.byRecords(t, base, records.Records)
			return
		}
		t.Why = "it has no authenticated TLSA records"
	}
}

// bases are the names below which TLSA records count, in order (RFC 7671 section
// 7, RFC 7672 section 2.2.2): where CNAMEs lead to, if all steps are authentic, and the name they
// start from, if at least the first step is.
func (l *lookup) bases(ctx context.Context, host string, found resolver.Answer[netip.Addr]) ([]string, error) {
	end := strings.TrimSuffix(found.Name, ".")
	switch {
	case len(found.Chain) == 0 && found.Authentic:
		return []string{host}, nil
	case len(found.Chain) == 0:
		return nil, nil
	case found.Authentic:
		return []string{end, host}, nil
	}
	alias, err := l.resolver.CNAME(ctx, host)
	switch {
	case err != nil && temporary(err):
		return nil, err
	case err == nil && alias.Authentic:
		return []string{host}, nil
	}
	return nil, nil
}

func (l *lookup) byRecords(t *Target, base string, records []resolver.TLSA) {
	usable := usableTLSA(records)
	if len(usable) == 0 {
		t.TLS, t.Why = Required, "none of its TLSA records at "+tlsaName(t.Port, base)+" is of use for mail"
		return
	}
	names := []string{base}
	for _, name := range []string{l.Name, l.Expanded} {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	t.TLS, t.Why = ByDANE, "it has TLSA records at "+tlsaName(t.Port, base)
	t.DANE = &DANE{Records: usable, Names: names}
}
