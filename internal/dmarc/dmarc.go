// Package dmarc finds out whether the author domain of a message is vouched for, and what its owner wants done when it is
// not (Domain-based Message Authentication, Reporting, and Conformance).
//
// It hides how policies and organisational domains are found: by walking up the DNS (RFC 9989 section 4.10), by the list of
// public suffixes (RFC 7489), or both to see where they differ. It takes the results of SPF and DKIM as values and gives back
// facts: every question of every walk, every pair of domains that was held against each other, and the verdict.
//
// Everything that is unsure is on the side of the owner. A message without exactly one author domain cannot be checked: it
// gets "permerror" and the disposition "reject", since it would otherwise be a way round the check (section 11.5). What the
// DNS cannot say now is "temperror" and has no disposition (section 5.3.6).
//
// Where the RFC leaves room: names of tags have no case, as the ABNF says; a tag that comes twice has
// no valid value (section 4.8); a record with an invalid p, sp or np and no address in rua is
// "permerror", one without p and rua is "none" (4.10.1); blanks before v= make a record no DMARC record.
//
// The bounds: eight questions a walk, MaxAuths results, MaxTime.
package dmarc

import (
	"context"
	"fmt"
	"time"

	"pennypost/internal/message"
	"pennypost/internal/resolver"
)

const (
	// MaxAuths is how many results of SPF and DKIM are looked at; those that pass come first.
	MaxAuths = 20
	// MaxTime is how long all questions of an evaluation may take; what has no answer then is TempError.
	MaxTime = 20 * time.Second
)

// Mode says by which rules policies and organisational domains are found.
type Mode string

// The modes. In mode Both the verdict is that of RFC 9989, and Report.Other has that of RFC 7489.
const (
	RFC9989 Mode = "9989"
	RFC7489 Mode = "7489"
	Both    Mode = "both"
)

// Result is what a check came to, in the words of RFC 9989 section 9.2.
type Result string

// The results.
const (
	None      Result = "none"      // there is no policy, nothing was checked
	Pass      Result = "pass"      // an authenticated domain is aligned with the author domain
	Fail      Result = "fail"      // none is
	TempError Result = "temperror" // the DNS did not tell
	PermError Result = "permerror" // the message or the record cannot be used
)

// Auth is one result of SPF (for the domain of MAIL FROM, never that of HELO) or of one DKIM signature.
type Auth struct {
	Method    string `json:"method"`             // "spf" or "dkim"
	Domain    string `json:"domain"`             // the domain of MAIL FROM, or d=
	Selector  string `json:"selector,omitempty"` // s=, for people
	Pass      bool   `json:"pass"`
	Temporary bool   `json:"temporary,omitempty"` // it could be Pass another time
}

// Resolver is what is asked; a *resolver.Resolver is one. An error that is a *resolver.Error and not Temporary means that
// there are no such records, every other error that nothing is known.
type Resolver interface {
	TXT(ctx context.Context, name string) (resolver.Answer[string], error)
}

// Options is what a check needs from outside.
type Options struct {
	Resolver Resolver
	Mode     Mode // "" is RFC9989
	// Whole walks to the end even where the verdict does not need it, for those who explain it. Trouble on that part of the
	// way changes nothing.
	Whole bool
}

// Report is the verdict and what led to it. Texts in it come from outside: escape them before they are shown.
type Report struct {
	Mode   Mode   `json:"mode"`
	Result Result `json:"result"`
	Reason string `json:"reason"` // one sentence

	From         string  `json:"from,omitempty"`          // the author domain, in A-labels; "" if there is not exactly one
	PolicyDomain string  `json:"policy_domain,omitempty"` // where the record was found
	OrgDomain    string  `json:"org_domain,omitempty"`    // the organisational domain of From; "" when nobody needed it
	Record       *Record `json:"record,omitempty"`        // the one that applies, nil if there is none
	Tag          string  `json:"tag,omitempty"`           // which Policy comes from: p, sp or np; "" without a usable policy
	Policy       Policy  `json:"policy,omitempty"`        // what the owner asks for From; "" when there is no record
	Disposition  Policy  `json:"disposition"`             // what to do: none unless Result is fail, or From could not be read
	Missing      bool    `json:"missing,omitempty"`       // From does not exist; asked only when np depends on it

	Walks      []Walk      `json:"walks,omitempty"`
	Alignments []Alignment `json:"alignments,omitempty"`

	Other  *Report `json:"other,omitempty"`  // mode Both: what RFC 7489 says
	Differ string  `json:"differ,omitempty"` // mode Both: one sentence when it says something else
}

// Evaluate checks the message that has these header fields. Fields other than From are not looked at.
func Evaluate(ctx context.Context, fields []message.Field, auths []Auth, o Options) *Report {
	domain, err := Author(fields)
	if err == nil {
		return EvaluateDomain(ctx, domain, auths, o)
	}
	return &Report{Mode: o.mode(), Result: PermError, Reason: err.Error(), Disposition: Reject}
}

// EvaluateDomain checks a message of which the author domain is known.
func EvaluateDomain(ctx context.Context, domain string, auths []Auth, o Options) *Report {
	from, err := asciiDomain(domain)
	if err != nil {
		return &Report{Mode: o.mode(), Result: PermError, Reason: fmt.Sprintf("not a domain: %q", clip(domain)), Disposition: Reject}
	}
	ctx, cancel := context.WithTimeout(ctx, MaxTime)
	defer cancel()
	auths = bounded(auths)
	dns := &finder{dns: o.Resolver, known: map[string]Query{}}
	switch o.mode() {
	case RFC7489:
		return evaluate(ctx, &suffixes{dns: dns}, from, auths, o)
	case Both:
		r := evaluate(ctx, &climber{dns: dns}, from, auths, o)
		r.Other = evaluate(ctx, &suffixes{dns: dns}, from, auths, o)
		r.Mode, r.Differ = Both, differ(r, r.Other)
		return r
	}
	return evaluate(ctx, &climber{dns: dns}, from, auths, o)
}

func (o Options) mode() Mode {
	if o.Mode == "" {
		return RFC9989
	}
	return o.Mode
}

// bounded cuts the list, failures first.
func bounded(auths []Auth) []Auth {
	if len(auths) <= MaxAuths {
		return auths
	}
	var pass, rest []Auth
	for _, a := range auths {
		if a.Pass {
			pass = append(pass, a)
		} else {
			rest = append(rest, a)
		}
	}
	return append(pass, rest...)[:MaxAuths]
}

// rules is what RFC 9989 and RFC 7489 have different answers to.
type rules interface {
	mode() Mode
	// policy finds the record for an author domain and where it stands, nil if there is none.
	policy(ctx context.Context, r *Report) (*Record, string, error)
	// choose is the tag that holds for From, and its policy.
	choose(ctx context.Context, r *Report, failed bool) (tag string, p Policy, err error)
	// org is the organisational domain of a name.
	org(ctx context.Context, r *Report, name string) (string, error)
	// tested says that the policy is to be one level lower.
	tested(*Record) bool
	// usable is false for a record whose policies cannot be read.
	usable(*Record) bool
}

// evaluate is RFC 9989 section 5.3, steps 2 to 6, by the given rules.
func evaluate(ctx context.Context, by rules, from string, auths []Auth, o Options) *Report {
	r := &Report{Mode: by.mode(), From: from, Disposition: NoPolicy}
	record, at, err := by.policy(ctx, r)
	if err != nil {
		return r.end(TempError, "%v", err)
	}
	if record == nil {
		return r.end(None, "no policy for %s", from)
	}
	r.Record, r.PolicyDomain = record, at
	monitored := len(record.RUA) > 0
	switch {
	case !by.usable(record) && !monitored:
		return r.end(PermError, "the record of %s has no valid policy and no valid address for reports", at)
	case record.P == "" && !monitored:
		return r.end(None, "the record of %s has no policy and no address for reports", at)
	}
	result, reason := align(ctx, by, r, auths)
	if o.Whole && r.OrgDomain == "" {
		r.OrgDomain, _ = by.org(ctx, r, from)
	}
	if err := r.apply(ctx, by, result == Fail); err != nil && result == Fail {
		return r.end(TempError, "%v", err)
	}
	if result == Fail {
		r.Disposition = r.Policy
		if by.tested(record) {
			r.Disposition = r.Policy.lower()
		}
	}
	return r.end(result, "%s", reason)
}

// apply fills in the policy for From. A record that cannot be used but asks for reports is as p=none.
func (r *Report) apply(ctx context.Context, by rules, failed bool) (err error) {
	r.Policy = NoPolicy
	if !by.usable(r.Record) || r.Record.P == "" {
		return nil
	}
	r.Tag, r.Policy, err = by.choose(ctx, r, failed)
	return err
}

func (r *Report) end(result Result, format string, a ...any) *Report {
	r.Result, r.Reason = result, fmt.Sprintf(format, a...)
	return r
}

// differ says in one sentence how the verdict of RFC 7489 is another one.
func differ(walk, list *Report) string {
	switch {
	case walk.Result != list.Result:
		return fmt.Sprintf("RFC 9989 says %s (%s), RFC 7489 says %s (%s)", walk.Result, walk.Reason, list.Result, list.Reason)
	case walk.Disposition != list.Disposition:
		return fmt.Sprintf("RFC 9989 says %s by %s of %s, RFC 7489 says %s by %s of %s", walk.Disposition, walk.Tag, walk.PolicyDomain,
			list.Disposition, list.Tag, list.PolicyDomain)
	case walk.Policy != list.Policy:
		return fmt.Sprintf("RFC 9989 finds policy %q, RFC 7489 %q", walk.Policy, list.Policy)
	}
	return ""
}
