// Package explain tells how the results of checking a message came about: one ordered list of steps with their evidence.
//
// It hides which of the facts in the reports of SPF, DKIM, ARC and DMARC matter to a reader, and in which order. A step is data
// and a sentence; how it is shown is for others to say. Nothing here asks or computes anything: the same reports give the same
// steps. Texts of steps and facts come from outside in part: escape them before they are shown.
package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pennypost/internal/dkim"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
)

// Step is one thing that was done or found. As JSON it is one object: the members named here, then its facts under their names.
type Step struct {
	Method string // session, spf, helo, dkim, arc, dmarc, message or verdict
	Rules  string // 7489 for the second opinion of DMARC, when both were asked for
	Number int    // which signature, or which set of a chain, from 1
	Name   string // what kind of step it is
	Depth  int    // 0, and one more for what belongs to the step before
	Result string // what it came to, where it is a result
	Text   string // a sentence for people
	Facts  []Fact // the evidence
}

// Fact is a piece of evidence. Its value is a string, a number, a bool, or what encoding/json can write.
type Fact struct {
	Name  string
	Value any
	For   Reader
}

// Reader says who is shown a fact.
type Reader int

// The readers. What a sentence says already need not be shown to people once more.
const (
	All Reader = iota
	Programs
	People
)

// MarshalJSON is the step in one line, with the facts that are for programs.
func (s Step) MarshalJSON() ([]byte, error) {
	members := []Fact{{Name: "method", Value: s.Method}, {Name: "step", Value: s.Name}}
	if s.Rules != "" {
		members = append(members, Fact{Name: "rules", Value: s.Rules})
	}
	if s.Number != 0 {
		members = append(members, Fact{Name: "number", Value: s.Number})
	}
	if s.Depth != 0 {
		members = append(members, Fact{Name: "depth", Value: s.Depth})
	}
	if s.Result != "" {
		members = append(members, Fact{Name: "result", Value: s.Result})
	}
	members = append(append(members, Fact{Name: "text", Value: s.Text}), s.Facts...)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, m := range members {
		if m.For == People {
			continue
		}
		fmt.Fprintf(&out, ",%q:", m.Name)
		if err := enc.Encode(m.Value); err != nil {
			return nil, err
		}
		out.Truncate(out.Len() - 1) // the line end
	}
	line := out.Bytes()
	line[0] = '{'
	return append(line, '}'), nil
}

// list is a list of steps that grows: each begins with what the list says of all of them.
type list struct {
	common Step
	steps  []Step
}

func (l *list) add(name string, depth int, format string, a ...any) *Step {
	s := l.common
	s.Name, s.Depth, s.Text = name, depth, fmt.Sprintf(format, a...)
	l.steps = append(l.steps, s)
	return &l.steps[len(l.steps)-1]
}

// shown adds a fact for all, note one for programs, lines one for people. What is empty is left out.
func (s *Step) shown(name string, value any) *Step { return s.fact(name, value, All) }
func (s *Step) note(name string, value any) *Step  { return s.fact(name, value, Programs) }
func (s *Step) lines(name string, value ...string) *Step {
	return s.fact(name, slices.DeleteFunc(value, func(v string) bool { return v == "" }), People)
}
func (s *Step) came(result string) *Step { s.Result = result; return s }
func (s *Step) fact(name string, value any, r Reader) *Step {
	switch v := value.(type) {
	case nil:
		return s
	case string:
		if v == "" {
			return s
		}
	case []string:
		if len(v) == 0 {
			return s
		}
	}
	s.Facts = append(s.Facts, Fact{name, value, r})
	return s
}

// Input is what there is to know besides a report.
type Input struct {
	Session mailauth.Session
	Header  message.Header // of the message that was checked
	Now     time.Time      // when
	Damage  []dkim.Damage  // what is known of why signatures do not match, for each of them
}

// Message is everything about a message that was checked, with one sentence at the end that says what became of it.
func Message(r *mailauth.Report, in Input) []Step {
	steps := session(in)
	if r.SPF != nil {
		steps = append(steps, SPF(r.SPF, in.Session.IP)...)
	}
	if r.HELO != nil {
		steps = append(steps, SPF(r.HELO, in.Session.IP)...)
	}
	steps = append(steps, DKIM(r.DKIM, in.Damage, in.Header, in.Now)...)
	if r.ARC != nil {
		steps = append(steps, ARC(r.ARC)...)
	}
	if r.DMARC != nil {
		steps = append(steps, DMARC(r.DMARC)...)
	}
	if o := r.Override; o != nil {
		l := list{common: Step{Method: "dmarc"}}
		l.add("override", 0, "The policy is not applied: %s, who is trusted, found in set %d that it passed.", o.Sealer, o.Instance).
			note("instance", o.Instance).note("sealer", o.Sealer).note("selector", o.Selector)
		steps = append(steps, l.steps...)
	}
	l := list{common: Step{Method: "message"}}
	for _, f := range r.Removed {
		l.add("removed", 0, "Removed, since it only pretends to be ours: %s: %s", f.Name, f.Value()).
			note("field", f.Name).note("value", f.Value())
	}
	return append(append(steps, l.steps...), verdict(r, in))
}

// session says how the message came.
func session(in Input) []Step {
	l := list{common: Step{Method: "session"}}
	s := in.Session
	var st *Step
	switch {
	case s.Trusted:
		st = l.add("session", 0, "A user who has logged in sent the message, so neither SPF nor DMARC is asked.")
	case !s.IP.IsValid():
		st = l.add("session", 0, "Which host the message came from is not known, so SPF is not asked.")
	default:
		st = l.add("session", 0, "The message came from %s, which called itself %s, with the sender <%s>.",
			s.IP, or(s.Helo, "nothing"), s.Sender)
	}
	if s.IP.IsValid() {
		st.note("ip", s.IP.String())
	}
	st.note("helo", s.Helo).note("sender", s.Sender).note("trusted", s.Trusted)
	if !in.Now.IsZero() {
		st.shown("now", in.Now.UTC().Format(time.RFC3339))
	}
	return l.steps
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func show(ip netip.Addr) string {
	if !ip.IsValid() {
		return "a host that is not known"
	}
	return ip.Unmap().String()
}
