package delivery

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// A Target is a place that was named by hand.
type Target struct {
	Kind string // "maildir" or "mbox"
	Path string
}

// ParseTarget reads maildir:PATH or mbox:PATH.
func ParseTarget(s string) (Target, error) {
	kind, path, _ := strings.Cut(s, ":")
	if kind != "maildir" && kind != "mbox" || path == "" || strings.ContainsRune(path, 0) {
		return Target{}, status.Errorf(status.Usage, "target %q is not maildir:PATH or mbox:PATH", s)
	}
	return Target{kind, filepath.Clean(path)}, nil
}

func (t Target) String() string { return t.Kind + ":" + t.Path }

// ToTargets puts m into the targets, all or none as far as a crash in the middle of an mbox allows it. A Maildir
// and an mbox that are missing are made, their parent directory is not. When e has exactly one recipient, that
// gives the Delivered-To line and the check for loops.
func ToTargets(ctx context.Context, targets []Target, m *message.Message, e *envelope.Envelope, opt Options) (err error) {
	if len(targets) == 0 {
		return status.Errorf(status.Usage, "deliver: no target")
	}
	j, err := newJob(ctx, m, e, opt)
	if err != nil {
		return err
	}
	defer func() { err = j.close(err) }()
	var to envelope.Address
	if len(e.Recipients) == 1 {
		to = e.Recipients[0]
		if err := j.checkLoop(to); err != nil {
			return err
		}
	}
	for _, t := range order(targets) {
		if j.done[t.String()] {
			continue
		}
		j.done[t.String()] = true
		if err := j.target(t, to); err != nil {
			e := *status.Of(err)
			e.Text, e.Err = "deliver to "+t.String()+": "+e.Text, err
			return &e
		}
	}
	return j.commit()
}

// order puts Maildirs first, since an mbox stays locked from its copy to the end, and sorts the mboxes, so that
// two deliveries never wait for each other.
func order(targets []Target) []Target {
	out := slices.Clone(targets)
	slices.SortStableFunc(out, func(a, b Target) int {
		if a.Kind != b.Kind {
			return strings.Compare(a.Kind, b.Kind)
		}
		if a.Kind == "mbox" {
			return strings.Compare(a.Path, b.Path)
		}
		return 0
	})
	return out
}

func (j *job) target(t Target, to envelope.Address) error {
	if t.Kind == "mbox" {
		return j.appendTo(t.Path, to)
	}
	dir, err := maildir.CreatePath(t.Path)
	if err != nil {
		return status.Of(err)
	}
	return j.stage(dir, to)
}
