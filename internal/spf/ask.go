package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"pennypost/internal/resolver"
)

// how a question was answered.
type how int

const (
	found     how = iota
	empty         // the name has no such record
	absent        // there is no such name
	unaskable     // the resolver says that this is no name
	trouble       // not answered
)

// void is what RFC 7208 section 4.6.4 calls so.
func (h how) void() bool { return h == empty || h == absent }

// ask asks a question and notes it and its answer in s.
func ask[T any](e *evaluation, s *Step, name, qtype string, question func() (resolver.Answer[T], error)) ([]T, how) {
	q := Question{Name: name, Type: qtype}
	a, err := question()
	h := kind(err)
	switch {
	case err != nil:
		q.Error, q.Void = complaint(err), h.void()
		a.Records = nil
		if h == trouble {
			e.failed = err
		}
	default:
		for _, r := range a.Records {
			q.Answers = append(q.Answers, show(r))
		}
	}
	s.Questions = append(s.Questions, q)
	return a.Records, h
}

func show(record any) string {
	if mx, ok := record.(resolver.MX); ok {
		return fmt.Sprintf("%d %s", mx.Preference, mx.Host)
	}
	return fmt.Sprint(record)
}

// complaint is what an error says besides the question, which stands beside it; trouble is told in full.
func complaint(err error) string {
	var r *resolver.Error
	if errors.As(err, &r) && kind(err) != trouble {
		return r.Kind.String()
	}
	return err.Error()
}

func kind(err error) how {
	var r *resolver.Error
	switch {
	case err == nil:
		return found
	case !errors.As(err, &r):
		return trouble
	case r.Kind == resolver.NoData:
		return empty
	case r.Kind == resolver.NXDomain:
		return absent
	case r.Kind == resolver.BadName:
		return unaskable
	}
	return trouble
}

// wire is a name as the resolver takes it: a backslash there begins an escape, here it is a character.
func wire(name string) string { return strings.ReplaceAll(name, `\`, `\\`) }

// addresses asks for the A or AAAA records of a name.
func (e *evaluation) addresses(s *Step, name string, six bool) ([]netip.Addr, how) {
	qtype := "A"
	if six {
		qtype = "AAAA"
	}
	return ask(e, s, name, qtype, func() (resolver.Answer[netip.Addr], error) {
		return e.dns.Addresses(e.ctx, wire(name), !six, six)
	})
}

// barren tells whether a name has no address at all; h is what came of asking for one of the client's kind. That a
// host with an IPv4 address has none of IPv6 is no mistake of its domain, so it is asked once more before it counts.
func (e *evaluation) barren(s *Step, name string, h how) bool {
	if h == empty && e.ip.Is6() {
		_, other := e.addresses(s, name, false)
		return other.void()
	}
	return h.void()
}

// names are what the client's address is called.
type names struct {
	how     how
	valid   []string // lower case, no final dot; those that lead back to the address
	counted bool     // as a void look-up
}

// clientNames asks for the names of the client and validates them (RFC 7208 section 5.5), once in an evaluation.
func (e *evaluation) clientNames(s *Step) *names {
	if e.names != nil {
		return e.names
	}
	e.names = &names{}
	claimed, h := ask(e, s, e.ip.String(), "PTR", func() (resolver.Answer[string], error) { return e.dns.PTR(e.ctx, e.ip) })
	e.names.how = h
	if len(claimed) > MaxPTR {
		claimed = claimed[:MaxPTR]
	}
	for _, name := range claimed {
		q := Question{Name: name, Type: "A"}
		if e.ip.Is6() {
			q.Type = "AAAA"
		}
		a, err := e.dns.Addresses(e.ctx, name, e.ip.Is4(), e.ip.Is6())
		if err != nil {
			q.Error, q.Void = complaint(err), kind(err).void()
		}
		for _, addr := range a.Records {
			q.Answers = append(q.Answers, addr.String())
			if err == nil && addr == e.ip {
				e.names.valid = append(e.names.valid, strings.ToLower(strings.TrimSuffix(name, ".")))
			}
		}
		s.Questions = append(s.Questions, q)
	}
	return e.names
}

// validatedName is %{p} (RFC 7208 section 7.3): the domain itself before one below it before any. That the macro asks
// for names counts as a look-up of its own, the first time (section 4.6.4).
func (e *evaluation) validatedName(domain string, s *Step) string {
	if e.names == nil && !e.explaining {
		e.lookups++
		s.Lookups = e.lookups
	}
	best := "unknown"
	domain = strings.ToLower(domain)
	for _, name := range e.clientNames(s).valid {
		switch {
		case name == domain:
			return name
		case strings.HasSuffix(name, "."+domain) && !strings.HasSuffix(best, "."+domain), best == "unknown":
			best = name
		}
	}
	return best
}

// explain finds the text of exp= (RFC 7208 section 6.2), "" where there is none or it is not fit to be shown.
func (e *evaluation) explain(out *outcome) string {
	if out.exp == nil {
		return ""
	}
	e.explaining = true
	s := e.step(out.domain, out.exp.Text, 0)
	text, why := e.explanation(out, s)
	s.Note, s.Matched = why, why == ""
	return text
}

func (e *evaluation) explanation(out *outcome, s *Step) (text, why string) {
	if e.foreign(out.exp.spec) {
		return "", "a local part that is not ASCII leads nowhere"
	}
	s.Target = e.target(out.exp.spec, out.domain, s)
	if !askable(s.Target) {
		return "", "this is no name that could be asked for"
	}
	texts, h := ask(e, s, s.Target, "TXT", func() (resolver.Answer[string], error) { return e.dns.TXT(e.ctx, wire(s.Target)) })
	switch {
	case h != found:
		return "", "no explanation was found"
	case len(texts) > 1:
		return "", "there is more than one explanation"
	}
	m, err := parseMacros(texts[0], inText)
	if err != nil {
		return "", "the explanation is malformed: " + err.Error()
	}
	text = e.expand(m, out.domain, s, MaxExplanation)
	if len(text) > MaxExplanation {
		return "", fmt.Sprintf("the explanation is longer than %d bytes", MaxExplanation)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", "the explanation is not printable ASCII"
	}
	return text, ""
}
