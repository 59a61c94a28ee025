package lint

import (
	"fmt"
	"slices"
	"strings"

	"pennypost/internal/spf"
)

// Limits of a walk through the records that one includes. A record that goes beyond is broken long before.
const (
	maxRecords = 200
	maxCost    = 1000
)

// cost is what a record takes in the worst case: when no term matches before the last.
type cost struct {
	lookups int
	voids   int // terms that find nothing whoever asks
	maybe   int // terms that may find nothing, depending on the mail
	unknown int // records that could not be looked at
}

func (c *cost) add(o cost) {
	c.lookups = min(c.lookups+o.lookups, maxCost)
	c.voids = min(c.voids+o.voids, maxCost)
	c.maybe = min(c.maybe+o.maybe, maxCost)
	c.unknown = min(c.unknown+o.unknown, maxCost)
}

// walker adds up what a record costs with all it includes.
type walker struct {
	*linter
	done  map[string]cost // by domain
	stack []string
	names bool // some term has %{p}
}

func (l *linter) spf() {
	texts, ok := l.txt("spf", l.domain)
	if !ok {
		return
	}
	for _, text := range texts {
		if kind := kindOf(text); kind == "dmarc" || kind == "dkim" {
			l.say(Error, kind, l.domain, "%q does not count here: its place is %s", clip(text), places[kind]+l.domain)
		}
	}
	record := l.one("spf", l.domain, texts, spf.IsRecord)
	if record == "" {
		if !slices.ContainsFunc(texts, func(t string) bool { return kindOf(t) == "spf" }) {
			l.say(Error, "spf", l.domain, "there is no SPF record")
		}
		return
	}
	w := &walker{linter: l, done: map[string]cost{}}
	total, parts := w.record(l.domain, record, false)
	if w.names {
		total.add(cost{lookups: 1})
		parts = append(parts, "%{p} 1")
	}
	l.total(total, parts)
}

// places are where a record belongs.
var places = map[string]string{"dmarc": "_dmarc.", "dkim": "SELECTOR._domainkey."}

// total says what the record of the domain costs.
func (l *linter) total(c cost, parts []string) {
	text := fmt.Sprintf("in the worst case %d of %d look-ups, and %d of %d terms that find nothing",
		c.lookups, spf.MaxLookups, c.voids, spf.MaxVoids)
	if c.unknown > 0 {
		text = fmt.Sprintf("%s, not counting %d records that are not known", text, c.unknown)
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	level := Note
	if c.lookups > spf.MaxLookups || c.voids > spf.MaxVoids {
		level = Error
	}
	l.say(level, "spf", l.domain, "%s", text)
	if level == Note && c.voids+c.maybe > spf.MaxVoids {
		l.say(Warning, "spf", l.domain, "for some mail %d terms find nothing, where %d is the most", c.voids+c.maybe, spf.MaxVoids)
	}
}

// record looks at the record of a domain. Of one that is included only errors count: what it says of other hosts is not
// asked. parts are the costs of its terms, for people.
func (w *walker) record(domain, text string, included bool) (total cost, parts []string) {
	w.sayAll(domain, slices.DeleteFunc(spfRecord(text), func(f Finding) bool { return included && f.Level != Error }))
	r, _ := spf.Check(text)
	w.stack = append(w.stack, domain)
	defer func() { w.stack = w.stack[:len(w.stack)-1] }()
	terms := r.Terms
	if i := slices.IndexFunc(terms, func(t spf.Term) bool { return t.Name == "all" }); i >= 0 {
		terms = terms[:i]
	} else if r.Redirect != nil {
		terms = append(slices.Clone(terms), *r.Redirect)
	}
	seen := map[string]bool{}
	for i := range terms {
		t := &terms[i]
		w.names = w.names || t.UsesNames() // which costs once in all
		if !t.Lookup() {
			continue
		}
		if seen[t.Text] {
			w.say(Warning, "spf", domain, "%s stands there twice, and costs twice", t.Text)
		}
		seen[t.Text] = true
		c := w.term(t, domain)
		total.add(c)
		parts = append(parts, fmt.Sprintf("%s %d", clip(t.Text), c.lookups))
	}
	w.explanation(r.Exp, domain)
	return total, parts
}

// term is what a term costs, and what it includes.
func (w *walker) term(t *spf.Term, domain string) cost {
	c := cost{lookups: 1}
	target, fixed := t.Target(domain)
	switch {
	case t.Name == "ptr":
		c.maybe = 1
	case t.Name == "include" || t.Name == "redirect":
		if !fixed {
			w.say(Note, "spf", domain, "%s depends on the mail: what it includes is not known", t.Text)
			c.unknown = 1
			break
		}
		c.add(w.other(t, domain, target))
	case !fixed:
		c.maybe = 1
	default:
		c.add(w.hosts(t, domain, target))
	}
	return c
}

// other is the cost of the record at target, which domain includes or redirects to.
func (w *walker) other(t *spf.Term, domain, target string) cost {
	target = strings.ToLower(target)
	if slices.Contains(w.stack, target) {
		way := strings.Join(append(slices.Clone(w.stack), target), " > ")
		w.say(Error, "spf", domain, "%s leads back to where it came from: %s", t.Text, way)
		return cost{}
	}
	if c, ok := w.done[target]; ok {
		return c
	}
	if len(w.done) >= maxRecords {
		w.say(Error, "spf", domain, "more than %d records are included", maxRecords)
		return cost{}
	}
	w.done[target] = cost{}
	texts, ok := w.txt("spf", target)
	if !ok {
		w.done[target] = cost{unknown: 1}
		return w.done[target]
	}
	var c cost
	record := w.one("spf", target, texts, spf.IsRecord)
	if record == "" {
		w.say(Error, "spf", domain, "%s: %s has no record that could be used, which is an error for every mail that gets there",
			t.Text, target)
		c.voids = 1
	} else {
		c, _ = w.record(target, record, t.Name == "include")
	}
	w.done[target] = c
	return c
}

// hosts looks whether there is anything at the name that an a, mx or exists term is about.
func (w *walker) hosts(t *spf.Term, domain, target string) cost {
	if t.Name == "mx" {
		mxs, err := w.o.Resolver.MX(w.ctx, target)
		switch {
		case !w.known("spf", target, mxs.Name, err):
			return cost{unknown: 1}
		case err != nil:
			w.say(Warning, "spf", domain, "%s: %s has no MX records", t.Text, target)
			return cost{voids: 1}
		case len(mxs.Records) > spf.MaxMX:
			w.say(Error, "spf", domain, "%s: %s has %d MX records, where %d is the most", t.Text, target, len(mxs.Records), spf.MaxMX)
		}
		return cost{}
	}
	a, err := w.o.Resolver.Addresses(w.ctx, target, true, t.Name == "a")
	switch {
	case !w.known("spf", target, a.Name, err):
		return cost{unknown: 1}
	case err != nil:
		w.say(Warning, "spf", domain, "%s: %s has no address", t.Text, target)
		return cost{voids: 1}
	}
	return cost{}
}

// explanation looks for the text of exp=.
func (w *walker) explanation(t *spf.Term, domain string) {
	if t == nil {
		return
	}
	target, fixed := t.Target(domain)
	if !fixed {
		return
	}
	texts, ok := w.txt("spf", target)
	switch {
	case !ok:
	case len(texts) != 1:
		w.say(Warning, "spf", domain, "%s: %s has %d texts, where one is wanted; no explanation is given", t.Text, target, len(texts))
	default:
		if err := spf.CheckExplanation(texts[0]); err != nil {
			w.say(Warning, "spf", target, "the explanation cannot be used: %v", err)
		}
	}
}
