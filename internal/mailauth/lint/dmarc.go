package lint

import (
	"slices"
	"strings"

	"pennypost/internal/dmarc"
)

// maxReporters is how many addresses for reports are looked at.
const maxReporters = 10

// dmarc returns the policy that applies to mail in the name of the domain, nil if it could not be found out.
func (l *linter) dmarc() *dmarc.Report {
	name := "_dmarc." + l.domain
	texts, ok := l.txt("dmarc", name)
	if !ok {
		return nil
	}
	record := l.one("dmarc", name, texts, dmarc.IsRecord)
	if record != "" {
		l.sayAll(name, dmarcRecord(record))
		l.reports(name, record)
	}
	if l.o.Offline && record == "" {
		l.say(Warning, "dmarc", name, "there is no record here that counts, and what the domains above say is not in the zone")
		return nil
	}
	mode := dmarc.Both
	if l.o.Offline {
		mode = dmarc.RFC9989
	}
	r := dmarc.EvaluateDomain(l.ctx, l.domain, nil, dmarc.Options{Resolver: l.o.Resolver, Mode: mode, Whole: !l.o.Offline})
	switch {
	case r.Result == dmarc.TempError:
		l.say(Trouble, "dmarc", name, "%s", r.Reason)
		return nil
	case r.Record == nil:
		l.say(Error, "dmarc", name, "no DMARC record applies, so anyone may write in the name of %s", l.domain)
	case record == "":
		l.say(Note, "dmarc", name, "the record of %s applies: %s", r.PolicyDomain, orNothing(r.Policy))
	}
	if r.Differ != "" {
		l.say(Warning, "dmarc", name, "those who follow RFC 7489 come to another end: %s", r.Differ)
	}
	return r
}

// reports looks whether those in other domains who are to get reports agree (RFC 9990 section 4).
func (l *linter) reports(name, text string) {
	r, _ := dmarc.ParseRecord(text)
	uris := slices.Concat(r.RUA, r.RUF)
	for _, uri := range uris[:min(len(uris), maxReporters)] {
		address, ok := strings.CutPrefix(strings.ToLower(uri.URI), "mailto:")
		if !ok {
			l.say(Warning, "dmarc", name, "%s: reports are sent by mail only", clip(uri.URI))
			continue
		}
		domain := address[strings.LastIndexByte(address, '@')+1:]
		if domain == "" || l.inside(domain) || l.sameOwner(domain) {
			continue
		}
		where := l.domain + "._report._dmarc." + domain
		texts, ok := l.txt("dmarc", where)
		agreed := false
		for _, t := range texts {
			agreed = agreed || dmarc.IsRecord(t)
		}
		if ok && !agreed {
			l.say(Error, "dmarc", name, "%s gets no reports, for %s does not agree: there is no v=DMARC1 at %s",
				clip(uri.URI), domain, where)
		}
	}
}

// sameOwner tells whether a domain has the same organisational domain as the one that is looked at.
func (l *linter) sameOwner(domain string) bool {
	if strings.HasSuffix(l.domain, "."+domain) {
		return true
	}
	org := func(d string) string {
		r := dmarc.EvaluateDomain(l.ctx, d, nil, dmarc.Options{Resolver: l.o.Resolver, Whole: true})
		if len(r.Walks) == 0 {
			return d
		}
		return r.Walks[0].Org
	}
	mine := org(l.domain)
	return !l.o.Offline && mine != "" && mine == org(domain)
}
