package lint

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"pennypost/internal/route"
)

// mx looks at the mail hosts and returns their names.
func (l *linter) mx() (hosts []string) {
	a, err := l.o.Resolver.MX(l.ctx, l.domain)
	if !l.known("mx", l.domain, a.Name, err) {
		return nil
	}
	if err != nil {
		l.say(Note, "mx", l.domain, "there are no MX records: mail goes to the address of the domain itself, if it has one")
		return []string{l.domain}
	}
	for _, mx := range a.Records {
		host := strings.TrimSuffix(mx.Host, ".")
		if host == "" {
			if len(a.Records) > 1 {
				l.say(Error, "mx", l.domain, "a null MX stands beside others (RFC 7505)")
			} else {
				l.say(Note, "mx", l.domain, "the domain takes no mail (null MX)")
			}
			continue
		}
		hosts = append(hosts, host)
		l.host(host)
	}
	return hosts
}

func (l *linter) host(host string) {
	if _, err := netip.ParseAddr(host); err == nil {
		l.say(Error, "mx", l.domain, "%s is an address: an MX record needs the name of a host", host)
		return
	}
	a, err := l.o.Resolver.Addresses(l.ctx, host, true, true)
	if len(a.Chain) > 0 {
		l.say(Error, "mx", l.domain, "%s is an alias, which the host of an MX record must not be (RFC 2181 section 10.3)", host)
	}
	if l.known("mx", host, a.Name, err) && err != nil {
		l.say(Error, "mx", l.domain, "%s has no address", host)
	}
}

// sts looks at the MTA-STS record, and at the policy it announces: its hosts have to be those of the MX records.
func (l *linter) sts(hosts []string) {
	name := "_mta-sts." + l.domain
	texts, ok := l.txt("mta-sts", name)
	record := l.one("mta-sts", name, texts, func(t string) bool { return strings.HasPrefix(t, "v=STSv1") })
	if !ok || record == "" {
		return
	}
	l.sayAll(name, stsRecord(record))
	web := "mta-sts." + l.domain
	if a, err := l.o.Resolver.Addresses(l.ctx, web, true, true); l.known("mta-sts", web, a.Name, err) && err != nil {
		l.say(Error, "mta-sts", web, "the web server for the policy has no address")
	}
	if l.o.Policy == nil {
		l.say(Note, "mta-sts", web, "the policy was not looked at")
		return
	}
	policy, err := l.o.Policy(l.ctx, l.domain)
	switch {
	case err != nil:
		l.say(Error, "mta-sts", web, "%v", err)
	case policy == nil:
		l.say(Error, "mta-sts", web, "there is no policy")
	default:
		l.policy(web, policy, hosts)
	}
}

func (l *linter) policy(web string, p *route.Policy, hosts []string) {
	l.say(Note, "mta-sts", web, "mode %s, for %v, hosts %s", p.Mode, p.MaxAge, strings.Join(p.MX, " "))
	if p.Mode == route.ModeNone {
		return
	}
	level := Error
	if p.Mode == route.ModeTesting {
		l.say(Note, "mta-sts", web, "in mode testing nothing is refused")
		level = Warning
	}
	for _, h := range hosts {
		if !p.Match(h) {
			l.say(level, "mta-sts", web, "the policy does not name %s: mail to it is refused by those who follow the policy", h)
		}
	}
	for _, pattern := range p.MX {
		one := &route.Policy{MX: []string{pattern}}
		if !slices.ContainsFunc(hosts, one.Match) {
			l.say(Warning, "mta-sts", web, "no MX record has a host that fits %s", pattern)
		}
	}
	if p.MaxAge < 24*time.Hour {
		l.say(Warning, "mta-sts", web, "max_age is %v: with less than a day it protects hardly anyone", p.MaxAge)
	}
}

func (l *linter) tlsrpt() {
	name := "_smtp._tls." + l.domain
	texts, ok := l.txt("tls-rpt", name)
	record := l.one("tls-rpt", name, texts, func(t string) bool { return strings.HasPrefix(t, "v=TLSRPTv1") })
	switch {
	case !ok:
	case record != "":
		found := reportRecord(record)
		l.sayAll(name, found)
		if len(found) == 0 {
			l.say(Note, "tls-rpt", name, "reports are asked for")
		}
	case slices.ContainsFunc(texts, func(t string) bool { return kindOf(t) == "tls-rpt" }):
	case slices.ContainsFunc(l.findings, func(f Finding) bool { return f.Check == "mta-sts" }):
		l.say(Warning, "tls-rpt", name, "there is MTA-STS, but nobody learns where it fails: there is no record")
	}
}
