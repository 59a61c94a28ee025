package delivery

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// A Target is a place that was named by hand.
type Target = Instruction

// ParseTarget reads maildir:PATH, mbox:PATH or the address to forward to.
func ParseTarget(s string) (Target, error) {
	kind, path, _ := strings.Cut(s, ":")
	switch k := Kind(kind); {
	case strings.ContainsRune(s, 0):
	case (k == Maildir || k == Mbox) && path != "":
		return Target{Kind: k, Arg: filepath.Clean(path)}, nil
	case strings.Contains(s, "@"):
		if a, err := envelope.Parse(s); err == nil {
			return Target{Kind: Forward, Arg: a.String()}, nil
		}
	}
	return Target{}, status.Errorf(status.Usage, "target %q is not maildir:PATH, mbox:PATH or an address", s)
}

// ToTargets puts m into the targets, all or none as far as a crash in the middle of an mbox allows it. A Maildir
// and an mbox that are missing are made, their parent directory is not. When e has exactly one recipient, that
// gives the Delivered-To line and the check for loops. A rule that holds replaces the targets, or marks them.
func ToTargets(ctx context.Context, targets []Target, m *message.Message, e *envelope.Envelope, opt Options) (err error) {
	j, err := newJob(ctx, m, e, opt)
	if err != nil {
		return err
	}
	defer func() { err = j.close(err) }()
	p, err := j.byHand(targets)
	if err != nil {
		return err
	}
	for _, i := range p.Steps {
		if err := j.step(p, i); err != nil {
			return targetFailed(i, err)
		}
	}
	return j.finish()
}

// byHand is the plan for targets.
func (j *job) byHand(targets []Target) (*Plan, error) {
	if len(targets) == 0 {
		return nil, status.Errorf(status.Usage, "deliver: no target")
	}
	p := &Plan{Source: "the command line", NewSender: j.sender, Steps: slices.Clone(targets)}
	if r := j.envelope.Recipients; len(r) == 1 {
		p.Recipient, p.To = r[0], r[0]
		if err := j.checkLoop(p.To); err != nil {
			return nil, err
		}
	}
	rule, err := j.match(p)
	if rule == nil || err != nil {
		return p, err
	}
	if rule.Do != nil {
		p.Steps = slices.Clone(rule.Do)
	}
	p.Source = rule.source()
	rule.mark(p.Steps)
	return p, nil
}

func targetFailed(i Instruction, err error) error {
	e := *status.Of(err)
	e.Text, e.Err = "deliver to "+string(i.Kind)+":"+i.Arg+": "+e.Text, err
	return &e
}
