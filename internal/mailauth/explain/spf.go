package explain

import (
	"fmt"
	"net/netip"
	"strings"

	"pennypost/internal/spf"
)

// SPF tells each record and each term, with what it has cost so far of what it may.
func SPF(r *spf.Report, ip netip.Addr) []Step {
	l := list{common: Step{Method: "spf"}}
	if r.Scope == spf.Helo {
		l.common.Method = "helo"
		l.add("question", 0, "May %s call itself %s?", show(ip), or(r.Domain, "nothing")).note("domain", r.Domain)
	} else {
		l.add("question", 0, "May %s send mail as %s?", show(ip), r.Sender).note("domain", r.Domain).note("sender", r.Sender)
	}
	for _, s := range r.Steps {
		if s.Term == "" {
			l.record(s)
		} else {
			l.term(s)
		}
	}
	l.add("result", 0, "SPF says %s: %s.", r.Result, r.Reason).came(string(r.Result)).note("reason", r.Reason).
		note("mechanism", r.Mechanism).shown("explanation", r.Explanation).note("lookups", r.Lookups).note("voids", r.Voids)
	return l.steps
}

func (l *list) record(s spf.Step) {
	var st *Step
	switch {
	case s.Record != "" && s.Note != "":
		st = l.add("record", 1+s.Depth, "%s publishes a record that is broken: %s.", s.Domain, s.Note).shown("record", s.Record)
	case s.Record != "":
		st = l.add("record", 1+s.Depth, "%s publishes: %s", s.Domain, s.Record).note("record", s.Record)
	default:
		st = l.add("record", 1+s.Depth, "The record of %s: %s.", s.Domain, or(s.Note, "none"))
		st.lines("asked", asked(s.Questions)...)
	}
	st.note("domain", s.Domain).note("note", s.Note)
	st.queries(s.Questions)
}

func (l *list) term(s spf.Step) {
	about := ""
	if s.Target != "" && !strings.HasSuffix(strings.ToLower(s.Term), strings.ToLower(s.Target)) {
		about = " (" + s.Target + ")"
	}
	why := ""
	if s.Note != "" {
		why = ": " + s.Note
	}
	st := l.add("term", 1+s.Depth, "%s%s %s%s; look-ups %d/%d, voids %d/%d", s.Term, about, came(s), why,
		s.Lookups, spf.MaxLookups, s.Voids, spf.MaxVoids)
	st.lines("asked", asked(s.Questions)...)
	st.note("domain", s.Domain).note("term", s.Term).note("target", s.Target).note("matched", s.Matched).
		note("lookups", s.Lookups).note("max_lookups", spf.MaxLookups).note("voids", s.Voids).note("max_voids", spf.MaxVoids).
		note("note", s.Note)
	st.queries(s.Questions)
}

// came says what became of a term, by what kind of term it is.
func came(s spf.Step) string {
	kind, _, modifier := strings.Cut(strings.ToLower(s.Term), "=")
	switch {
	case modifier && kind == "redirect" && s.Matched:
		return "leads to another record"
	case modifier && kind == "exp" && s.Matched:
		return "has the explanation"
	case modifier:
		return "leads nowhere"
	case s.Matched:
		return "matches"
	}
	return "does not match"
}

func (s *Step) queries(q []spf.Question) {
	if len(q) > 0 {
		s.note("queries", q)
	}
}

// asked are questions with their answers, one a line.
func asked(all []spf.Question) []string {
	var out []string
	for _, q := range all {
		said := strings.Join(q.Answers, ", ")
		if q.Error != "" {
			said = q.Error
		}
		out = append(out, fmt.Sprintf("%s %s: %s", q.Type, q.Name, said))
	}
	return out
}
