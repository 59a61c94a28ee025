package explain

import (
	"fmt"
	"strings"
	"time"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

// DKIM tells of each signature what it covers, its key, both of its halves, and what it leaves open.
// Damage is what dkim.Examine found out about them.
func DKIM(results []dkim.Result, damage []dkim.Damage, header message.Header, now time.Time) []Step {
	var steps []Step
	for i := range results {
		l := list{common: Step{Method: "dkim", Number: i + 1}}
		l.signature(&results[i], damageOf(damage, i), header, now)
		steps = append(steps, l.steps...)
	}
	if len(results) == 0 {
		l := list{common: Step{Method: "dkim"}}
		l.add("result", 0, "There is no signature.").came(string(dkim.None))
		steps = l.steps
	}
	return steps
}

func (l *list) signature(r *dkim.Result, d dkim.Damage, header message.Header, now time.Time) {
	if r.Domain != "" {
		l.add("signature", 0, "A signature of %s by %s, selector %s, %s.",
			r.Domain, or(r.Algorithm, "nothing"), r.Selector, or(r.Canon, "no form")).
			note("domain", r.Domain).shown("identifier", r.Identifier).note("selector", r.Selector).note("algorithm", r.Algorithm).
			note("canonicalization", r.Canon).note("fields", r.Names).lines("fields", strings.Join(r.Names, " ")).
			note("time", unix(r.Time)).note("expires", unix(r.Expires)).length(r)
	}
	l.key(r)
	l.halves(r, d)
	for _, n := range r.Notes(now) {
		l.add("note", 1, "Note: %s.", n)
	}
	l.gaps(r, header)
	reason := ""
	if r.Reason != "" {
		reason = ": " + r.Reason
	}
	counts := ""
	if r.Verdict == dkim.Pass && !r.Counts() {
		counts = " It does not count for DMARC, since it leaves a part of the body open."
	}
	l.add("result", 0, "DKIM says %s%s.%s", r.Verdict, reason, counts).came(string(r.Verdict)).
		note("reason", r.Reason).note("domain", r.Domain).note("counts", r.Counts())
}

// unix is a time for programs, nil when there is none.
func unix(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

func (s *Step) length(r *dkim.Result) {
	if r.Domain != "" && r.Length >= 0 {
		s.shown("length", r.Length)
	}
}

func (l *list) key(r *dkim.Result) {
	switch {
	case r.Query == "":
		return // it did not come to that
	case r.Key == "":
		l.add("key", 1, "There is no key to be used at %s.", r.Query).note("query", r.Query).note("records", r.Records)
		return
	}
	l.add("key", 1, "The key at %s has %d bits.", r.Query, r.Bits).note("query", r.Query).note("records", r.Records).
		note("record", r.Record).note("bits", r.Bits).note("testing", r.Testing).shown("key", r.Key)
}

func matches(ok bool) string {
	if ok {
		return "matches"
	}
	return "does not match"
}

// halves are the hash of the body and the signature of the header. Both are always told.
func (l *list) halves(r *dkim.Result, d dkim.Damage) {
	if r.GotBody == "" {
		return
	}
	l.add("body", 1, "The body %s.", matches(r.BodyOK)).note("body_ok", r.BodyOK).
		shown("signed_body_hash", r.WantBody).shown("body_hash", r.GotBody).unsigned(r.Open)
	l.repair("body", d.Body, d.BodySearched)
	if !r.BodyOK && !d.BodySearched {
		l.unsearched("body", r.Length >= 0, "it has more than %d bytes", dkim.MaxRepairBody)
	}
	var st *Step
	if r.Bits == 0 {
		st = l.add("header", 1, "The header cannot be checked without a key.")
	} else {
		st = l.add("header", 1, "The header %s.", matches(r.HeaderOK)).note("header_ok", r.HeaderOK)
	}
	st.shown("signed_header_hash", d.WantHeader).shown("header_hash", d.GotHeader)
	st.note("canonical_header", string(r.Canonical)).lines("hashed", strings.Split(string(r.Canonical), "\r\n")...)
	if r.Bits != 0 && !r.HeaderOK && strings.HasPrefix(strings.ToLower(r.Algorithm), "ed25519-") {
		l.add("note", 1, "Note: which hash was signed cannot be told, since a signature by Ed25519 does not show it.")
	}
	if d.Foreign {
		l.add("repair", 1, "The signature was not made with this key, or it was damaged itself.").
			note("half", "header").note("foreign", true)
	}
	l.repair("header", d.Header, d.HeaderSearched)
	if r.Bits != 0 && !r.HeaderOK && !d.HeaderSearched && !d.Foreign {
		l.unsearched("header", false, "it has more than %d bytes or %d fields", dkim.MaxRepairHeader, dkim.MaxRepairFields)
	}
}

// unsearched says that nothing was looked for, and why: only a part is signed, or a limit.
func (l *list) unsearched(half string, part bool, limit string, a ...any) {
	why := fmt.Sprintf(limit, a...)
	if part {
		why = "l= has only a part of it signed"
	}
	l.add("repair", 1, "What was done to the %s was not looked for: %s.", half, why).note("half", half).note("unsearched", why)
}

func damageOf(all []dkim.Damage, i int) dkim.Damage {
	if i < len(all) {
		return all[i]
	}
	return dkim.Damage{}
}

// repair says what makes a half of a signature match.
func (l *list) repair(half string, found []dkim.Repair, searched bool) {
	switch {
	case len(found) > 0:
		l.add("repair", 1, "The %s matches if %s.", half, undone(found)).note("half", half).note("repairs", found)
	case searched:
		l.add("repair", 1, "Nothing that is usually done to a message explains why the %s does not match.", half).note("half", half)
	}
}

// undone is the end of a sentence.
func undone(repairs []dkim.Repair) string {
	var out []string
	for _, r := range repairs {
		out = append(out, r.String())
	}
	return strings.Join(out, " and ")
}

func (s *Step) unsigned(n int64) {
	if n > 0 {
		s.note("unsigned_bytes", n)
	}
}

// gaps tells what the signature does not cover; fields that could be added stand in one step.
func (l *list) gaps(r *dkim.Result, header message.Header) {
	if r.Query == "" {
		return
	}
	var add []string
	for _, g := range r.Uncovered(header) {
		switch g.Kind {
		case dkim.GapAdd:
			add = append(add, g.Name)
		case dkim.GapBody:
			l.add("uncovered", 1, "Not covered: %s.", g).note("kind", g.Kind).note("bytes", g.Bytes)
		default:
			l.add("uncovered", 1, "Not covered: %s.", g).note("kind", g.Kind).note("fields", []string{g.Name}).note("count", g.Count)
		}
	}
	if len(add) > 0 {
		l.add("uncovered", 1, "Not covered: more fields can be added of %s.", strings.Join(add, ", ")).
			note("kind", dkim.GapAdd).note("fields", add)
	}
}
