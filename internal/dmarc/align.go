package dmarc

import (
	"context"
	"fmt"
	"strings"
)

// Alignment is one authenticated domain held against the author domain (RFC 9989 section 4.10.2).
type Alignment struct {
	Auth
	Strict  bool   `json:"strict,omitempty"` // identical domains are wanted
	Org     string `json:"org,omitempty"`    // the organisational domain of Auth.Domain; "" when nobody needed it
	Aligned bool   `json:"aligned"`
	Error   string `json:"error,omitempty"` // why it is not known now whether it is aligned
	Why     string `json:"why"`
}

// align compares every authenticated domain. One that passes and is aligned is enough; without one, trouble that leaves the
// question open is a temperror.
func align(ctx context.Context, by rules, r *Report, auths []Auth) (Result, string) {
	var trouble string
	result, reason := Fail, fmt.Sprintf("nothing that passes is aligned with %s", r.From)
	for _, a := range auths {
		pair := Alignment{Auth: a, Strict: a.Method == "spf" && r.Record.StrictSPF || a.Method == "dkim" && r.Record.StrictDKIM}
		if !a.Pass && !a.Temporary {
			pair.Why = "it does not pass"
			r.Alignments = append(r.Alignments, pair)
			continue
		}
		compare(ctx, by, r, &pair)
		r.Alignments = append(r.Alignments, pair)
		switch {
		case pair.Aligned && a.Pass && result != Pass:
			result, reason = Pass, fmt.Sprintf("%s passes for %s: %s", a.Method, a.Domain, pair.Why)
		case pair.Error != "" && trouble == "":
			trouble = pair.Error
		case pair.Aligned && a.Temporary && trouble == "":
			trouble = fmt.Sprintf("%s for %s had trouble", a.Method, a.Domain)
		}
	}
	if result == Fail && trouble != "" {
		return TempError, trouble
	}
	return result, reason
}

// compare fills in Org, Aligned, Error and Why. It asks no more than it needs: the organisational domain of a name is that
// name or one above it, so most pairs are settled by looking at them.
func compare(ctx context.Context, by rules, r *Report, p *Alignment) {
	name, err := asciiDomain(p.Domain)
	switch {
	case err != nil:
		p.Why = "not a domain"
		return
	case name == r.From:
		p.Aligned, p.Why = true, "the same domain"
		return
	case p.Strict:
		p.Why = "not the same domain, and alignment is strict"
		return
	case tld(name) != tld(r.From):
		p.Why = "nothing in common"
		return
	}
	if r.OrgDomain == "" {
		if r.OrgDomain, err = by.org(ctx, r, r.From); err != nil {
			p.unknown(r.From, err)
			return
		}
	}
	if name != r.OrgDomain && !strings.HasSuffix(name, "."+r.OrgDomain) {
		p.Why = "not in the organisational domain " + r.OrgDomain
		return
	}
	if p.Org, err = by.org(ctx, r, name); err != nil {
		p.unknown(name, err)
		return
	}
	p.Aligned = p.Org == r.OrgDomain
	p.Why = "the same organisational domain " + p.Org
	if !p.Aligned {
		p.Why = fmt.Sprintf("organisational domain %s, not %s", p.Org, r.OrgDomain)
	}
}

func (p *Alignment) unknown(name string, err error) {
	p.Why, p.Error = "the organisational domain of "+name+" is not known now", err.Error()
}

func tld(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
