package delivery

import (
	"mime"
	"regexp"
	"slices"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/lazy"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// A Rule is a step of a filter: when its test holds, the message goes where the rule says. Of several, the first whose
// test holds counts.
type Rule struct {
	Test *Test // nil holds always
	// Do replaces the mailbox's own instructions unless it is nil; empty throws the message away.
	Do []Instruction
	// What follows is put on every Maildir that the message then goes to.
	Folder   string
	Flags    string
	Keywords []string
}

// source says where the steps of the rule come from.
func (r *Rule) source() string {
	if r.Test == nil {
		return "the command line"
	}
	return "--if '" + r.Test.text + "'"
}

// replaces tells whether the rule stands in for the mailbox's own instructions, which it does by naming a place.
func (r *Rule) replaces() bool { return r.Do != nil || r.Folder != "" }

// steps are what the rule does in a mailbox.
func (r *Rule) steps() []Instruction {
	steps := slices.Clone(r.Do)
	if r.Do == nil {
		steps = []Instruction{{Kind: Maildir, Arg: "Maildir"}}
	}
	r.mark(steps)
	return steps
}

// mark puts folder, flags and keywords on the Maildirs among the steps.
func (r *Rule) mark(steps []Instruction) {
	for i := range steps {
		if s := &steps[i]; s.Kind == Maildir {
			if r.Folder != "" {
				s.Folder = r.Folder
			}
			s.Flags += r.Flags
			s.Keywords = append(slices.Clone(s.Keywords), r.Keywords...)
		}
	}
}

// A Test compares a header field, or a variable of mailpipe(7), with a regular expression.
type Test struct {
	text string
	name string // of the field, or $NAME
	not  bool
	re   *regexp.Regexp
}

var testForm = lazy.Regexp(`^\s*(\$?[!-#%-9;-~]+?):?\s*(!?~)\s?(.*)$`)

const maxPattern = 4096 // bytes of a regular expression

// ParseTest reads 'NAME ~ REGEXP' or 'NAME !~ REGEXP'. NAME is that of a header field, or $ and a variable of the
// envelope such as $SENDER. The expression is of RE2 (regexp(7) of Go) and takes upper and lower case for the same, unless
// it starts with (?-i). Fields are unfolded and their encoded words (RFC 2047) decoded; of several of one name any counts.
func ParseTest(s string) (*Test, error) {
	m := testForm().FindStringSubmatch(s)
	if m == nil || len(s) > maxPattern {
		return nil, status.Errorf(status.Usage, "test %q is not 'HEADER ~ REGEXP' or 'HEADER !~ REGEXP'", status.Escape(s, 100))
	}
	re, err := regexp.Compile("(?i)" + m[3])
	if err != nil {
		return nil, status.Errorf(status.Usage, "test %q: %w", status.Escape(s, 100), err)
	}
	return &Test{text: s, name: m[1], not: m[2] == "!~", re: re}, nil
}

var words = mime.WordDecoder{}

// holds tells whether the test is true of the message.
func (t *Test) holds(h message.Header, env []string) bool {
	found := false
	if name, ok := strings.CutPrefix(t.name, "$"); ok {
		for _, kv := range env {
			if k, v, _ := strings.Cut(kv, "="); k == name {
				found = found || t.re.MatchString(v)
			}
		}
		return found != t.not
	}
	for _, f := range h.All(t.name) {
		v := f.Value()
		if plain, err := words.DecodeHeader(v); err == nil {
			v = plain
		}
		found = found || t.re.MatchString(v)
	}
	return found != t.not
}

// match is the first rule whose test holds for the plan's recipient, nil when none does.
func (j *job) match(p *Plan) (*Rule, error) {
	if len(j.opt.Rules) == 0 {
		return nil, nil
	}
	env, err := j.envelope.to(p).Environ(nil)
	if err != nil {
		return nil, err
	}
	for i := range j.opt.Rules {
		if r := &j.opt.Rules[i]; r.Test == nil || r.Test.holds(j.header, env) {
			return r, nil
		}
	}
	return nil, nil
}

// letter is the envelope of the delivery.
type letter struct{ *envelope.Envelope }

// to is the envelope for the one recipient of p, as its commands see it.
func (l letter) to(p *Plan) *envelope.Envelope {
	for i, r := range l.Recipients {
		if r == p.Recipient {
			return l.For(i)
		}
	}
	one := *l.Envelope
	one.Recipients, one.Notify, one.ORcpt = []envelope.Address{p.To}, nil, nil
	return &one
}
