package explain

import (
	"strings"

	"pennypost/internal/dmarc"
)

// DMARC tells how the policy was found name by name, which domains were held against that of the author, and what applies.
func DMARC(r *dmarc.Report) []Step {
	steps := policy(r, "")
	if r.Other != nil {
		steps = append(steps, policy(r.Other, string(dmarc.RFC7489))...)
	}
	if r.Differ != "" {
		l := list{common: Step{Method: "dmarc"}}
		l.add("differ", 0, "The old and the new rules differ: %s.", r.Differ)
		steps = append(steps, l.steps...)
	}
	return steps
}

func policy(r *dmarc.Report, rules string) []Step {
	l := list{common: Step{Method: "dmarc", Rules: rules}}
	if r.From != "" {
		l.add("author", 0, "The author domain is %s.", r.From).note("domain", r.From)
	}
	l.walks(r)
	l.alignments(r)
	if r.Policy != "" {
		tag := "there is no p"
		if r.Tag != "" {
			tag = r.Tag + " of " + r.PolicyDomain
		}
		exists := ""
		if r.Missing {
			exists = ", since " + r.From + " does not exist"
		}
		l.add("policy", 0, "The policy is %s (%s%s).", r.Policy, tag, exists).note("policy", string(r.Policy)).note("tag", r.Tag).
			note("policy_domain", r.PolicyDomain).note("missing", r.Missing).note("record", r.Record.Text)
	}
	l.add("result", 0, "DMARC says %s: %s.", r.Result, r.Reason).came(string(r.Result)).note("reason", r.Reason).
		shown("disposition", string(r.Disposition))
	return l.steps
}

func (l *list) walks(r *dmarc.Report) {
	for _, w := range r.Walks {
		for _, q := range w.Queries {
			if q.Known && q.Domain != w.Start {
				continue // told before
			}
			l.add("query", 1, "_dmarc.%s: %s", q.Domain, found(q)).note("name", "_dmarc."+q.Domain).note("answers", q.Texts).
				note("absent", q.Absent).note("error", q.Error)
		}
		if w.Org != "" {
			l.add("organisation", 1, "The organisational domain of %s is %s (%s).", w.Start, w.Org, w.Rule).
				note("domain", w.Start).note("organisation", w.Org).note("rule", w.Rule)
		}
	}
	if r.Record == nil {
		return
	}
	for _, p := range r.Record.Problems {
		l.add("problem", 1, "The record of %s: %s.", r.PolicyDomain, p).note("domain", r.PolicyDomain).note("problem", p)
	}
}

func (l *list) alignments(r *dmarc.Report) {
	for _, a := range r.Alignments {
		how := "relaxed"
		if a.Strict {
			how = "strict"
		}
		aligned := "is not aligned"
		if a.Aligned {
			aligned = "is aligned"
		}
		l.add("alignment", 1, "%s for %s %s: %s.", strings.ToUpper(a.Method), or(a.Domain, "no domain"), aligned, a.Why).
			note("auth", a.Method).note("domain", a.Domain).note("selector", a.Selector).note("pass", a.Pass).
			note("alignment", how).note("organisation", a.Org).note("aligned", a.Aligned).note("why", a.Why).note("error", a.Error)
	}
}

func found(q dmarc.Query) string {
	switch {
	case q.Error != "":
		return q.Error
	case q.Record != nil:
		return q.Texts[0]
	case len(q.Texts) > 0:
		return "several records, so none: " + strings.Join(q.Texts, " | ")
	case q.Absent:
		return "no such name"
	}
	return "no record"
}
