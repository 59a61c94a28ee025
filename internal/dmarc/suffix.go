package dmarc

import (
	"context"

	"golang.org/x/net/publicsuffix"
)

// suffixes has the rules of RFC 7489, with the list of public suffixes that is compiled in. Of pct only 0 counts, as t=y does
// in RFC 9989; every other share of the messages is all of them, so that one message gets one verdict.
type suffixes struct{ dns *finder }

func (s *suffixes) mode() Mode { return RFC7489 }

// policy is section 6.6.3: the record of the author domain, else of its organisational domain. Several records at one name
// end the search.
func (s *suffixes) policy(ctx context.Context, r *Report) (*Record, string, error) {
	r.OrgDomain = registered(r.From)
	w := Walk{Start: r.From, Org: r.OrgDomain, Rule: "public suffix list"}
	defer func() { r.add(w) }()
	for _, name := range []string{r.From, r.OrgDomain} {
		q := s.dns.at(ctx, name)
		w.Queries = append(w.Queries, q)
		if q.err != nil || len(q.Texts) > 0 || name == r.OrgDomain {
			return q.Record, name, q.err
		}
	}
	return nil, "", nil
}

func (s *suffixes) choose(_ context.Context, r *Report, _ bool) (string, Policy, error) {
	if r.From != r.PolicyDomain && r.Record.SP != "" {
		return "sp", r.Record.SP, nil
	}
	return "p", r.Record.P, nil
}

func (s *suffixes) org(_ context.Context, _ *Report, name string) (string, error) {
	return registered(name), nil
}

func (s *suffixes) tested(r *Record) bool { return r.Pct == 0 }
func (s *suffixes) usable(r *Record) bool { return !r.list }

// registered is the public suffix and one label more, or the name itself if it has none. The list is in A-labels and lower
// case, as name has to be.
func registered(name string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return org
	}
	return name
}
