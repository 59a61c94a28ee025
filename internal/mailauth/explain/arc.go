package explain

import (
	"strings"

	"pennypost/internal/arc"
)

// ARC tells each set of a chain, the oldest first.
func ARC(r *arc.Report) []Step {
	var steps []Step
	for i := range r.Sets {
		l := list{common: Step{Method: "arc", Number: r.Sets[i].Instance}}
		l.set(&r.Sets[i])
		steps = append(steps, l.steps...)
	}
	l := list{common: Step{Method: "arc"}}
	switch {
	case r.Result == arc.None:
		l.add("result", 0, "There is no chain of seals (ARC).")
	case r.Result == arc.Pass:
		l.add("result", 0, "The chain holds; the message was not changed since set %d.", max(r.OldestPass, 1)).
			note("oldest_pass", r.OldestPass)
	default:
		l.add("result", 0, "The chain does not hold: %s.", r.Reason).note("reason", r.Reason).note("temporary", r.Temporary)
	}
	l.steps[0].came(string(r.Result)).note("instances", r.Instances)
	return append(steps, l.steps...)
}

func (l *list) set(s *arc.Set) {
	found := strings.Join(strings.Fields(s.Results), " ")
	l.add("set", 0, "Set %d of %s says: %s", s.Instance, s.Seal.Domain, found).note("results", s.Results).note("cv", string(s.CV)).
		lines("before", "the chain was "+string(s.CV))
	l.sealed("seal", "The seal", &s.Seal)
	st := l.sealed("message", "The signature of the message", &s.Message)
	if m := &s.Message; m.GotBody != "" {
		st.note("fields", m.Names).lines("fields", strings.Join(m.Names, " ")).shown("signed_body_hash", m.WantBody).
			shown("body_hash", m.GotBody).note("body_ok", m.BodyOK).note("canonical_header", string(m.Canonical)).
			lines("hashed", strings.Split(string(m.Canonical), "\r\n")...)
	}
}

func (l *list) sealed(name, what string, s *arc.Signature) *Step {
	verdict := "holds"
	if !s.OK {
		verdict = "does not hold: " + s.Reason
	}
	return l.add(name, 1, "%s of %s, selector %s, %s, %s.", what, s.Domain, s.Selector, s.Algorithm, verdict).note("ok", s.OK).
		note("reason", s.Reason).note("domain", s.Domain).note("selector", s.Selector).note("algorithm", s.Algorithm).
		note("canonicalization", s.Canon).note("time", unix(s.Time)).note("query", s.Query).note("bits", s.Bits).
		note("header_ok", s.HeaderOK).shown("key", s.Key)
}
