package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pennypost/internal/resolver"
)

// evaluation is one run of check_host() with all it calls.
type evaluation struct {
	ctx                  context.Context
	dns                  DNS
	ip                   netip.Addr
	helo, receiver       string
	scope                Scope
	local, domain        string // of the sender
	now                  time.Time
	maxLookups, maxVoids int
	lookups, voids       int
	steps                steps
	names                *names // of the client, once they were asked for
	explaining           bool   // limits do not count any more
	failed               error  // of the last question that was not answered
}

// outcome is the result for one record.
type outcome struct {
	result Result
	reason string
	term   string // that matched
	domain string // whose record decided
	exp    *Term  // that record's explanation
}

func errorf(r Result, format string, a ...any) *outcome {
	return &outcome{result: r, reason: fmt.Sprintf(format, a...)}
}

// start looks at what was asked before anything is asked of the DNS.
func (e *evaluation) start(q Query) *outcome {
	switch {
	case !e.ip.IsValid():
		return errorf(None, "the address of the client is not known")
	case len(q.Sender) > MaxIdentity || len(q.Helo) > MaxIdentity:
		return errorf(None, "the identity is longer than %d bytes", MaxIdentity)
	}
	return e.host(e.domain, 0)
}

// host is check_host() of RFC 7208 section 4 for one domain.
func (e *evaluation) host(domain string, depth int) *outcome {
	if why := malformed(domain); why != "" {
		return errorf(None, "%s", why)
	}
	record, out := e.fetch(domain, depth)
	if out != nil {
		return out
	}
	for i := range record.Terms {
		t := &record.Terms[i]
		matched, trouble := e.term(t, domain, depth)
		if trouble != nil {
			return trouble
		}
		if matched {
			return &outcome{t.Result, fmt.Sprintf("%s matched in the record of %s", t.Text, domain), t.Text, domain, record.Exp}
		}
	}
	if record.Redirect != nil {
		return e.redirect(record.Redirect, domain, depth)
	}
	return errorf(Neutral, "no mechanism matched in the record of %s", domain)
}

// fetch finds the record of a domain, RFC 7208 sections 4.4 to 4.6.
func (e *evaluation) fetch(domain string, depth int) (*Record, *outcome) {
	s := e.step(domain, "", depth)
	texts, how := ask(e, s, domain, "TXT", func() (resolver.Answer[string], error) { return e.dns.TXT(e.ctx, wire(domain)) })
	if how == trouble {
		return nil, e.trouble(s)
	}
	texts = slices.DeleteFunc(texts, func(t string) bool { return !IsRecord(t) })
	switch len(texts) {
	case 0:
		s.Note = "no record"
		return nil, errorf(None, "%s has no SPF record", domain)
	case 1:
	default:
		s.Note = "more than one record"
		return nil, errorf(PermError, "%s has %d SPF records", domain, len(texts))
	}
	s.Record = texts[0]
	record, err := Parse(texts[0])
	if err != nil {
		s.Note = err.Error()
		return nil, errorf(PermError, "record of %s: %v", domain, err)
	}
	return record, nil
}

// term evaluates a mechanism, RFC 7208 section 5.
func (e *evaluation) term(t *Term, domain string, depth int) (matched bool, out *outcome) {
	if e.steps.n >= MaxSteps && t.Prefix.IsValid() && !t.Prefix.Contains(e.ip) {
		return false, nil
	}
	s := e.step(domain, t.Text, depth)
	defer func() { s.Matched = matched }()
	if out := e.count(s, t); out != nil {
		return false, out
	}
	if e.foreign(t.spec) {
		s.Note = "a local part that is not ASCII matches nothing"
		return false, nil
	}
	if t.Lookup() {
		s.Target = e.target(t.spec, domain, s)
		if out := e.overdrawn(s); out != nil {
			return false, out
		}
	}
	switch t.Name {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return t.Prefix.Contains(e.ip), nil
	case "include":
		return e.include(s, depth)
	}
	if !askable(s.Target) {
		s.Note = "this is no name that could be asked for"
		return false, nil
	}
	return e.hosts(t, s)
}

// hosts evaluates the mechanisms that are about a name's own records.
func (e *evaluation) hosts(t *Term, s *Step) (bool, *outcome) {
	switch t.Name {
	case "a":
		return e.a(t, s)
	case "mx":
		return e.mx(t, s)
	case "ptr":
		return e.ptr(s)
	}
	return e.exists(s)
}

// steps grows without moving what it holds.
type steps struct {
	blocks [][]Step
	n      int
}

const stepBlock = 64

func (s *steps) add(step Step) *Step {
	if s.n%stepBlock == 0 {
		s.blocks = append(s.blocks, make([]Step, 0, stepBlock))
	}
	s.n++
	last := &s.blocks[len(s.blocks)-1]
	*last = append(*last, step)
	return &(*last)[len(*last)-1]
}

func (s *steps) all() []Step { return slices.Concat(s.blocks...) }

// step notes that something is about to be done.
func (e *evaluation) step(domain, term string, depth int) *Step {
	return e.steps.add(Step{Depth: depth, Domain: domain, Term: term, Lookups: e.lookups, Voids: e.voids})
}

// count takes a term to the limit on look-ups (RFC 7208 section 4.6.4).
func (e *evaluation) count(s *Step, t *Term) *outcome {
	if !t.Lookup() {
		return nil
	}
	e.lookups++
	s.Lookups = e.lookups
	return e.overdrawn(s)
}

func (e *evaluation) overdrawn(s *Step) *outcome {
	if e.lookups <= e.maxLookups {
		return nil
	}
	s.Note = "one look-up too many"
	return errorf(PermError, "the record of %s needs more than %d look-ups", e.domain, e.maxLookups)
}

// void counts a term that found nothing, once, however many questions it asked (RFC 7208 section 4.6.4 limits terms).
func (e *evaluation) void(s *Step) *outcome {
	e.voids++
	s.Voids = e.voids
	if e.voids <= e.maxVoids {
		return nil
	}
	s.Note = "one look-up too many that finds nothing"
	return errorf(PermError, "more than %d terms of the record of %s find nothing", e.maxVoids, e.domain)
}

// trouble is what comes of a question, the last of s, that was not answered. Which server was asked stands only in the
// step: the reason may go into the message.
func (e *evaluation) trouble(s *Step) *outcome {
	s.Note = "trouble"
	q := s.Questions[len(s.Questions)-1]
	why := "not answered"
	if r := (*resolver.Error)(nil); errors.As(e.failed, &r) {
		why = r.Kind.String()
	}
	return errorf(TempError, "look up %s %q: %s", q.Type, q.Name, why)
}

// include is RFC 7208 section 5.2: the other record's word counts only when it is pass.
func (e *evaluation) include(s *Step, depth int) (bool, *outcome) {
	out := e.host(s.Target, depth+1)
	s.Note = "the included record says " + string(out.result)
	switch out.result {
	case Pass:
		return true, nil
	case TempError, PermError:
		return false, out
	case None:
		return false, errorf(PermError, "%s of %s: %s", s.Term, s.Domain, out.reason)
	}
	return false, nil
}

// redirect is RFC 7208 section 6.1.
func (e *evaluation) redirect(t *Term, domain string, depth int) *outcome {
	s := e.step(domain, t.Text, depth)
	if out := e.count(s, t); out != nil {
		return out
	}
	if e.foreign(t.spec) {
		s.Note = "a local part that is not ASCII leads nowhere"
		return errorf(Neutral, "no mechanism matched in the record of %s", domain)
	}
	s.Target = e.target(t.spec, domain, s)
	if out := e.overdrawn(s); out != nil {
		return out
	}
	s.Matched = true
	out := e.host(s.Target, depth)
	if out.result == None {
		return errorf(PermError, "%s of %s: %s", t.Text, domain, out.reason)
	}
	return out
}

// a is RFC 7208 section 5.3.
func (e *evaluation) a(t *Term, s *Step) (bool, *outcome) {
	addrs, how := e.addresses(s, s.Target, e.ip.Is6())
	switch {
	case how == trouble:
		return false, e.trouble(s)
	case e.barren(s, s.Target, how):
		return false, e.void(s)
	}
	return e.near(t, addrs), nil
}

// mx is RFC 7208 section 5.4. More hosts than MaxMX are an error whether or not one of the first would match, so that
// the result does not hang on their order.
func (e *evaluation) mx(t *Term, s *Step) (bool, *outcome) {
	mxs, how := ask(e, s, s.Target, "MX", func() (resolver.Answer[resolver.MX], error) { return e.dns.MX(e.ctx, wire(s.Target)) })
	switch {
	case how == trouble:
		return false, e.trouble(s)
	case how.void():
		return false, e.void(s)
	case len(mxs) > MaxMX:
		s.Note = "too many hosts"
		return false, errorf(PermError, "%s has more than %d MX records", s.Target, MaxMX)
	}
	barren := true
	for _, mx := range mxs {
		host := strings.TrimSuffix(mx.Host, ".")
		if host == "" { // a null MX, RFC 7505
			barren = false
			continue
		}
		addrs, how := e.addresses(s, host, e.ip.Is6())
		if how == trouble {
			return false, e.trouble(s)
		}
		if e.near(t, addrs) {
			return true, nil
		}
		barren = barren && e.barren(s, host, how)
	}
	if barren {
		return false, e.void(s)
	}
	return false, nil
}

// near tells whether the client is one of the addresses, or as near to one as t says.
func (e *evaluation) near(t *Term, addrs []netip.Addr) bool {
	bits := t.Bits4
	if e.ip.Is6() {
		bits = t.Bits6
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return a.BitLen() == e.ip.BitLen() && netip.PrefixFrom(a, bits).Contains(e.ip)
	})
}

// exists is RFC 7208 section 5.7: an A record, whatever the client's address.
func (e *evaluation) exists(s *Step) (bool, *outcome) {
	_, how := e.addresses(s, s.Target, false)
	switch {
	case how == trouble:
		return false, e.trouble(s)
	case how.void():
		return false, e.void(s)
	}
	return how == found, nil
}

// ptr is RFC 7208 section 5.5. Trouble there is no match: the names belong to the client, not to the domain.
func (e *evaluation) ptr(s *Step) (bool, *outcome) {
	n := e.clientNames(s)
	if n.how.void() && !n.counted {
		n.counted = true // the question is asked once, however many terms there are
		return false, e.void(s)
	}
	target := strings.ToLower(s.Target)
	return slices.ContainsFunc(n.valid, func(name string) bool { return name == target || strings.HasSuffix(name, "."+target) }), nil
}
