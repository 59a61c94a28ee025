package delivery

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// A Target is a place that was named by hand.
type Target = Instruction

// ParseTarget reads maildir:PATH, mbox:PATH, mh:PATH, lmtp://HOST[:PORT], lmtp+unix:///PATH, '|COMMAND', - for standard output,
// or the address to forward to.
func ParseTarget(s string) (Target, error) {
	kind, path, _ := strings.Cut(s, ":")
	switch k := Kind(kind); {
	case strings.ContainsRune(s, 0):
	case (k == Maildir || k == Mbox || k == MH) && path != "":
		if err := maildir.CheckFolderPath(filepath.Clean(path)); k == Maildir && err != nil {
			return Target{}, status.Errorf(status.Usage, "target %q: %w", s, err)
		}
		return Target{Kind: k, Arg: filepath.Clean(path)}, nil
	case s == "-":
		return Target{Kind: Stdout, Arg: s}, nil
	case strings.HasPrefix(s, "|") && strings.TrimLeft(s[1:], " \t") != "":
		return Target{Kind: Command, Arg: s[1:]}, nil
	case kind == "lmtp" || kind == "lmtp+unix":
		if _, err := smtp.ParseURL(s); err != nil {
			return Target{}, status.Errorf(status.Usage, "target: %w", err)
		}
		return Target{Kind: LMTP, Arg: s}, nil
	case strings.Contains(s, "@"):
		if a, err := envelope.Parse(s); err == nil {
			return Target{Kind: Forward, Arg: a.String()}, nil
		}
	}
	return Target{}, status.Errorf(status.Usage,
		"target %q is not maildir:PATH, mbox:PATH, mh:PATH, lmtp://HOST, lmtp+unix:///PATH, '|COMMAND', - or an address", s)
}

// ToTargets puts m into the targets, all or none as far as a crash in the middle of an mbox allows it; what commands, servers
// and standard output got before another target failed they keep. A Maildir, an MH folder and an mbox that are missing are made,
// their parent directory is not. When e has exactly one recipient, that
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
	if err := j.ready(p); err != nil {
		return err
	}
	for _, i := range p.Steps {
		err := j.step(p, i)
		if errors.Is(err, errStop) {
			break
		}
		if err != nil {
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
	}
	if err := j.checkLoop(p.To); err != nil {
		return nil, err
	}
	rule, err := j.match(p)
	if err != nil {
		return nil, err
	}
	if rule != nil {
		if rule.Do != nil {
			p.Steps = slices.Clone(rule.Do)
		}
		p.Source = rule.source()
		rule.mark(p.Steps)
	}
	return p, p.nameFolders()
}

func targetFailed(i Instruction, err error) error {
	e := *status.Of(err)
	if errors.Is(err, errSaid) {
		return err
	}
	e.Text, e.Err = "deliver to "+i.target()+": "+e.Text, err
	return &e
}

// target is the instruction as ParseTarget reads it.
func (i Instruction) target() string {
	switch i.Kind {
	case Command:
		return "|" + i.Arg
	case Maildir, Mbox, MH:
		return string(i.Kind) + ":" + i.Arg
	}
	return i.Arg
}
