package dmarc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pennypost/internal/resolver"
)

// Limits of what a name may answer.
const (
	maxRecords = 10       // of DMARC that are kept, to show them
	maxText    = 16 << 10 // bytes of a record that is read
)

// Query is one question of a walk, the TXT records at _dmarc.Domain, and what came of it.
type Query struct {
	Domain string   `json:"domain"`
	Texts  []string `json:"texts,omitempty"`  // the records that begin with v=DMARC1
	Record *Record  `json:"-"`                // the one that counts; nil when there is none, and when several make each other void
	Absent bool     `json:"absent,omitempty"` // there is no such name in the DNS
	Error  string   `json:"error,omitempty"`  // why nothing is known of this name now
	Known  bool     `json:"known,omitempty"`  // asked before, by another walk

	err error
}

// Walk is one walk up the DNS, or in mode RFC7489 the questions for one policy.
type Walk struct {
	Start   string  `json:"start"`
	Queries []Query `json:"queries"`
	Org     string  `json:"org,omitempty"`  // the organisational domain of Start; "" when nobody needed the rest of the walk
	Rule    string  `json:"rule,omitempty"` // why that: "psd=n", "below psd=y", "fewest labels", "no record", "public suffix list"
}

// finder asks for records, each name once.
type finder struct {
	dns   Resolver
	known map[string]Query
}

func (f *finder) at(ctx context.Context, domain string) Query {
	if q, ok := f.known[domain]; ok {
		q.Known = true
		return q
	}
	q := Query{Domain: domain}
	answer, err := f.dns.TXT(ctx, "_dmarc."+domain)
	var e *resolver.Error
	switch {
	case err == nil:
	case !errors.As(err, &e) || e.Temporary():
		q.err, q.Error = err, err.Error()
	default:
		q.Absent = e.Kind == resolver.NXDomain && len(answer.Chain) == 0
	}
	for _, text := range answer.Records {
		if err != nil || len(text) > maxText || !IsRecord(text) {
			continue
		}
		if q.Texts = append(q.Texts, text); len(q.Texts) == maxRecords {
			break
		}
	}
	if len(q.Texts) == 1 {
		q.Record, _ = ParseRecord(q.Texts[0])
	}
	f.known[domain] = q
	return q
}

// missing says whether a name does not exist, nor anything below it (RFC 8020). An alias exists, though what it stands for may
// not (RFC 6604).
func (f *finder) missing(ctx context.Context, name string) (bool, error) {
	if q, ok := f.known[name]; ok && q.err == nil && !q.Absent {
		return false, nil // there is something below it
	}
	answer, err := f.dns.TXT(ctx, name)
	var e *resolver.Error
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &e) && !e.Temporary():
		return e.Kind != resolver.NoData && len(answer.Chain) == 0, nil
	}
	return false, err
}

// climber has the rules of RFC 9989.
type climber struct{ dns *finder }

func (c *climber) mode() Mode { return RFC9989 }

// next is the name that a walk goes to after this one (section 4.10, steps 3, 4 and 7); "" after the last.
func next(name string) string {
	_, parent, _ := strings.Cut(name, ".")
	for strings.Count(parent, ".") > 6 {
		_, parent, _ = strings.Cut(parent, ".")
	}
	return parent
}

// walk goes up from a name until a record says psd=n or psd=y, or to the top: eight questions at most.
func (c *climber) walk(ctx context.Context, r *Report, start string) (*Walk, error) {
	for i := range r.Walks {
		if w := &r.Walks[i]; w.Start == start && w.Org != "" {
			return w, nil
		}
	}
	w := Walk{Start: start}
	var err error
	for name := start; name != ""; name = next(name) {
		q := c.dns.at(ctx, name)
		w.Queries = append(w.Queries, q)
		if q.err != nil {
			err = q.err
			break
		}
		if q.Record != nil && q.Record.PSD != "u" {
			break
		}
	}
	if err == nil {
		w.Org, w.Rule = w.organisation()
	}
	r.add(w)
	return &w, err
}

// add puts a walk in the report, in the place of one from the same name that was not finished.
func (r *Report) add(w Walk) {
	for i := range r.Walks {
		if r.Walks[i].Start == w.Start {
			r.Walks[i] = w
			return
		}
	}
	r.Walks = append(r.Walks, w)
}

// organisation selects the organisational domain (section 4.10.2).
func (w *Walk) organisation() (org, rule string) {
	org, rule = w.Start, "no record"
	for _, q := range w.Queries {
		switch {
		case q.Record == nil:
		case q.Record.PSD == "n":
			return q.Domain, "psd=n"
		case q.Record.PSD == "y" && q.Domain != w.Start:
			return below(w.Start, q.Domain), "below psd=y"
		default:
			org, rule = q.Domain, "fewest labels"
		}
	}
	return org, rule
}

// below is the ancestor of name, or name itself, that has one label more than top.
func below(name, top string) string {
	rest := strings.TrimSuffix(name, "."+top)
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + top
}

// policy is section 4.10.1: the record of the author domain, else of its organisational domain, else of the public suffix.
func (c *climber) policy(ctx context.Context, r *Report) (*Record, string, error) {
	q := c.dns.at(ctx, r.From)
	if q.Record != nil || q.err != nil {
		r.add(Walk{Start: r.From, Queries: []Query{q}})
		return q.Record, r.From, q.err
	}
	w, err := c.walk(ctx, r, r.From)
	if err != nil {
		return nil, "", err
	}
	r.OrgDomain = w.Org
	for _, q := range w.Queries {
		if q.Record != nil && (q.Domain == w.Org || q.Record.PSD == "y") {
			return q.Record, q.Domain, nil
		}
	}
	return nil, "", nil
}

// choose takes sp for a subdomain that exists and np for one that does not, whichever of np, sp and p is there.
func (c *climber) choose(ctx context.Context, r *Report, failed bool) (string, Policy, error) {
	record := r.Record
	if r.From == r.PolicyDomain {
		return "p", record.P, nil
	}
	tag, policy := "p", record.P
	if record.SP != "" {
		tag, policy = "sp", record.SP
	}
	if record.NP == "" || !failed {
		return tag, policy, nil
	}
	missing, err := c.dns.missing(ctx, r.From)
	if err != nil {
		return "", NoPolicy, fmt.Errorf("does %s exist: %w", r.From, err)
	}
	if r.Missing = missing; missing {
		return "np", record.NP, nil
	}
	return tag, policy, nil
}

func (c *climber) org(ctx context.Context, r *Report, name string) (string, error) {
	w, err := c.walk(ctx, r, name)
	return w.Org, err
}

func (c *climber) tested(r *Record) bool { return r.Testing }
func (c *climber) usable(r *Record) bool { return !r.bad }
