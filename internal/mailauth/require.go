package mailauth

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of a requirement.
const (
	maxRequirement = 4096 // bytes
	maxDepth       = 50   // parentheses and "not" inside of each other
)

// Truth is the value of a requirement. Unknown is what another time may say: a check had temporary trouble.
type Truth int

// The values, so ordered that "and" is the least and "or" the greatest of two.
const (
	False Truth = iota - 1
	Unknown
	True
)

// condition is a part of a requirement.
type condition func(*Report) Truth

// Requirement is an expression over the results of a report: tests joined by "and", "or", "not" and parentheses, of which "not"
// binds most and "or" least. A test is
//
//	METHOD=RESULT             spf, helo, dkim, arc, dmarc; for dkim one signature is enough
//	METHOD.PROPERTY=VALUE     see properties
//
// or the same with "!=", which is "not" before "=". A property of spf, helo, dkim and arc is that of a check that passes: a
// signature that does not match says nothing about its domain. VALUE may be quoted. Neither words nor values have a case.
type Requirement struct {
	text    string
	holds   condition
	methods []string
}

// String is the expression as it was read.
func (q *Requirement) String() string { return q.text }

// Methods are the methods that are asked about.
func (q *Requirement) Methods() []string { return q.methods }

// Holds looks whether a report is as required.
func (q *Requirement) Holds(r *Report) Truth { return q.holds(r) }

// methodResults are the results that each method has.
var methodResults = map[string][]string{
	"spf":   {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"},
	"helo":  {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"},
	"dkim":  {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"},
	"arc":   {"none", "pass", "fail", "temperror"},
	"dmarc": {"none", "pass", "fail", "temperror", "permerror"},
}

// fact is one result, as a requirement sees it.
type fact struct {
	result     string
	properties map[string]string
	always     bool // its properties count even when it does not pass
}

// properties are the names after the dot.
var properties = map[string][]string{
	"spf":   {"domain"},
	"helo":  {"domain"},
	"dkim":  {"domain", "selector", "identifier", "algorithm"},
	"arc":   {"sealer"},
	"dmarc": {"from", "policy", "disposition"},
}

// facts are the results of a method, at least one.
func (r *Report) facts(method string) []fact {
	var out []fact
	switch {
	case method == "spf" && r.SPF != nil:
		out = append(out, fact{string(r.SPF.Result), map[string]string{"domain": r.SPF.Domain}, false})
	case method == "helo" && r.HELO != nil:
		out = append(out, fact{string(r.HELO.Result), map[string]string{"domain": r.HELO.Domain}, false})
	case method == "dmarc" && r.DMARC != nil:
		d := r.DMARC
		out = append(out, fact{string(d.Result),
			map[string]string{"from": d.From, "policy": string(d.Policy), "disposition": string(d.Disposition)}, true})
	case method == "arc" && r.ARC != nil:
		out = append(out, r.arcFact())
	case method == "dkim":
		for _, s := range r.DKIM {
			out = append(out, fact{string(s.Verdict), map[string]string{
				"domain": s.Domain, "selector": s.Selector, "identifier": s.Identifier, "algorithm": s.Algorithm}, false})
		}
	}
	if len(out) == 0 {
		out = append(out, fact{result: "none"})
	}
	return out
}

// ParseRequirement reads an expression. A word that is no method, property or result is an error.
func ParseRequirement(s string) (*Requirement, error) {
	if len(s) > maxRequirement {
		return nil, fmt.Errorf("longer than %d bytes", maxRequirement)
	}
	p := &requirementParser{in: s}
	p.next()
	holds, err := p.either()
	if err == nil && p.token != "" {
		err = fmt.Errorf("unexpected %q", p.token)
	}
	if p.bad != nil {
		err = p.bad
	}
	if err != nil {
		return nil, err
	}
	return &Requirement{text: s, holds: holds, methods: p.methods}, nil
}

// requirementParser holds one token: a word, a quoted string with its first quote, or one of ( ) = !=; "" is the end.
type requirementParser struct {
	in      string
	token   string
	depth   int
	methods []string
	bad     error
}

func (p *requirementParser) next() {
	p.in = strings.TrimLeft(p.in, " \t\r\n")
	n := strings.IndexAny(p.in, " \t\r\n()=!\"")
	switch {
	case n < 0:
		n = len(p.in)
	case n > 0:
	case strings.HasPrefix(p.in, "!="):
		n = 2
	case p.in[0] == '"':
		p.quoted()
		return
	default:
		n = 1
	}
	p.token, p.in = p.in[:n], p.in[n:]
}

func (p *requirementParser) quoted() {
	s := &scanner{in: p.in}
	text, err := s.quoted()
	if err != nil {
		p.bad = err
	}
	p.token, p.in = `"`+text, p.in[s.at:]
}

// is takes a word of the grammar.
func (p *requirementParser) is(word string) bool {
	if !strings.EqualFold(p.token, word) {
		return false
	}
	p.next()
	return true
}

func (p *requirementParser) either() (condition, error) {
	return p.joined("or", p.both, func(a, b Truth) Truth { return max(a, b) })
}

func (p *requirementParser) both() (condition, error) {
	return p.joined("and", p.one, func(a, b Truth) Truth { return min(a, b) })
}

// joined reads parts with a word between them.
func (p *requirementParser) joined(word string, part func() (condition, error), join func(a, b Truth) Truth) (condition, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	parts := []condition{first}
	for p.is(word) {
		more, err := part()
		if err != nil {
			return nil, err
		}
		parts = append(parts, more)
	}
	return func(r *Report) Truth {
		v := parts[0](r)
		for _, more := range parts[1:] {
			v = join(v, more(r))
		}
		return v
	}, nil
}

// one reads a test, or an expression after "not" or in parentheses.
func (p *requirementParser) one() (condition, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.is("not"):
		inner, err := p.one()
		return not(inner), err
	case p.is("("):
		inner, err := p.either()
		if err == nil && !p.is(")") {
			err = fmt.Errorf("no closing parenthesis")
		}
		return inner, err
	}
	return p.test()
}

func not(inner condition) condition {
	return func(r *Report) Truth { return -inner(r) }
}

func (p *requirementParser) test() (condition, error) {
	subject := strings.ToLower(p.token)
	method, property, _ := strings.Cut(subject, ".")
	if methodResults[method] == nil {
		return nil, fmt.Errorf("%q is not spf, helo, dkim, arc or dmarc", p.token)
	}
	if subject != method && !slices.Contains(properties[method], property) {
		return nil, fmt.Errorf("%s has no %q: it has %s", method, property, strings.Join(properties[method], ", "))
	}
	p.next()
	negative := p.token == "!="
	if !negative && p.token != "=" {
		return nil, fmt.Errorf("no = after %s", subject)
	}
	p.next()
	if p.token == "" || p.token == `"` || strings.Contains("()=!=", p.token) {
		return nil, fmt.Errorf("no value after %s", subject)
	}
	value := strings.ToLower(strings.TrimPrefix(p.token, `"`))
	p.next()
	if property == "" && !slices.Contains(methodResults[method], value) {
		return nil, fmt.Errorf("%s is never %q: it is %s", method, value, strings.Join(methodResults[method], ", "))
	}
	if !slices.Contains(p.methods, method) {
		p.methods = append(p.methods, method)
	}
	holds := func(r *Report) Truth { return anyFact(r.facts(method), property, value) }
	if negative {
		return not(holds), nil
	}
	return holds, nil
}

// anyFact is True when one of the facts is as wanted, and Unknown when none is but one had trouble.
func anyFact(facts []fact, property, want string) Truth {
	v := False
	for _, f := range facts {
		got := f.result
		if property != "" {
			got = ""
			if f.always || f.result == "pass" {
				got = f.properties[property]
			}
		}
		switch {
		case same(got, want):
			return True
		case f.result == "temperror":
			v = Unknown
		}
	}
	return v
}

// same compares values; domains may be in U-labels or A-labels.
func same(got, want string) bool {
	return strings.EqualFold(got, want) || got != "" && sameHost(got, want)
}
