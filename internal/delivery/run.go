package delivery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// run carries out a plan: Maildirs are staged and commands run in the order of the file; mboxes and forwards are noted for
// the end.
func (j *job) run(p *Plan) error {
	for _, i := range p.Steps {
		err := j.step(p, i)
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil {
			return p.failed(i, err)
		}
	}
	return nil
}

// failed names the instruction that failed in err.
func (p *Plan) failed(i Instruction, err error) error {
	if errors.Is(err, errSaid) {
		return err
	}
	e := *status.Of(err)
	at := p.Source
	if i.Line > 0 {
		at += fmt.Sprintf(" line %d", i.Line)
	}
	if at != "" {
		e.Text = at + ": " + e.Text
	}
	e.Err = err
	return &e
}

// trouble is err of the instruction with all that is known of where it was: recipient, file and line, or the target.
func (p *Plan) trouble(i Instruction, err error) error {
	if p.box == nil {
		return targetFailed(i, err)
	}
	return failed(p.Recipient, p.failed(i, err))
}

func (j *job) step(p *Plan, i Instruction) error {
	switch i.Kind {
	case Maildir:
		return j.toMaildir(p, i)
	case Mbox:
		return j.toMbox(p, i)
	case MH:
		return j.toMH(p, i)
	case LMTP, Stdout:
		return j.later(p, i)
	case Command:
		return j.command(p, i)
	}
	a, err := envelope.Parse(i.Arg)
	if err != nil {
		return err
	}
	j.forwards = append(j.forwards, forward{p, i, a})
	return nil
}

// toMaildir stages a copy. A Maildir that several instructions or recipients lead to gets one.
func (j *job) toMaildir(p *Plan, i Instruction) error {
	key := "maildir " + p.place(i)
	if j.done[key] {
		return nil
	}
	j.done[key] = true
	dir, err := p.openMaildir(i)
	if err != nil {
		return err
	}
	j.dirs = append(j.dirs, dir)
	main := dir
	if counts(i) {
		if err := j.overQuota(main.CheckQuota(j.opt.Quota, j.m.Size())); err != nil {
			return err
		}
	}
	if i.Folder != "" {
		if dir, err = folder(main, i.Folder); err != nil {
			return err
		}
		j.dirs = append(j.dirs, dir)
	}
	s, err := j.stage(dir, p.To, i)
	if err == nil && counts(i) {
		j.counted = append(j.counted, counted{main, s.Size()})
	}
	return err
}

func (p *Plan) openMaildir(i Instruction) (*maildir.Dir, error) {
	if p.box != nil && !path.IsAbs(i.Arg) {
		return p.box.OpenMaildir(i.Arg)
	}
	if !p.free() {
		return nil, errLeaves
	}
	dir, err := maildir.CreatePath(i.Arg)
	if err != nil {
		return nil, status.Of(err)
	}
	return dir, nil
}

var errLeaves = status.Errorf(status.Config, "an absolute path leaves the post office")

// free tells whether the plan may leave its home: it is not one of an office.
func (p *Plan) free() bool { return p.box == nil || p.box.Private }

// folder opens a folder of dir, made when missing.
func folder(dir *maildir.Dir, name string) (*maildir.Dir, error) {
	for range 2 { // another delivery may make it at the same time
		sub, err := dir.Folder(name)
		if errors.Is(err, fs.ErrNotExist) {
			sub, err = dir.CreateFolder(name)
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case errors.Is(err, fs.ErrInvalid):
			return nil, status.Errorf(status.Usage, "%w", err)
		case err != nil:
			return nil, status.Of(err)
		}
		return sub, nil
	}
	return nil, status.Errorf(status.TempFail, "folder %q of %q comes and goes", name, dir.Path())
}

// letters are the flags of an instruction with its keywords, which get letters of the Maildir's own.
func letters(ctx context.Context, dir *maildir.Dir, i Instruction) (string, error) {
	if len(i.Keywords) == 0 {
		return i.Flags, nil
	}
	known, err := dir.AddKeywords(ctx, i.Keywords)
	if err != nil {
		return "", status.Errorf(status.CantCreate, "keywords %q: %w", i.Keywords, err)
	}
	flags := i.Flags
	for _, k := range i.Keywords {
		flags += string(known.Letter(k))
	}
	return flags, nil
}

// toMbox notes an mbox for the end: from its copy on it is locked.
func (j *job) toMbox(p *Plan, i Instruction) error {
	at, err := p.openPlace(i)
	if err != nil {
		return err
	}
	if j.done["mbox "+at.path] {
		return at.close()
	}
	j.done["mbox "+at.path] = true
	j.mboxes = append(j.mboxes, mboxStep{at, p, i})
	return nil
}

// openPlace opens the directory in which the mbox or MH folder is.
func (p *Plan) openPlace(i Instruction) (place, error) {
	shown := p.place(i)
	if !path.IsAbs(i.Arg) && p.box != nil {
		return place{root: p.box.Home(), name: i.Arg, path: shown}, nil
	}
	if !p.free() {
		return place{}, errLeaves
	}
	if real, err := filepath.EvalSymlinks(shown); err == nil {
		shown = real
	}
	root, err := os.OpenRoot(filepath.Dir(shown) + "/.") // which does not wait for a FIFO
	if err != nil {
		return place{}, status.Errorf(status.CantCreate, "open the directory of %q: %w", shown, err)
	}
	return place{root: root, name: filepath.Base(shown), path: shown, own: true}, nil
}

// mboxStep is a copy that waits for its turn.
type mboxStep struct {
	place
	p *Plan
	i Instruction
}

// appendAll appends the copies in the order of the paths, so that two deliveries never wait for each other.
func (j *job) appendAll() error {
	slices.SortFunc(j.mboxes, func(a, b mboxStep) int { return strings.Compare(a.path, b.path) })
	for _, s := range j.mboxes {
		if err := j.appendTo(s.place, s.p.To); err != nil {
			return s.p.trouble(s.i, err)
		}
	}
	return nil
}

// forward is one address to which the message goes on.
type forward struct {
	p  *Plan
	i  Instruction
	to envelope.Address
}

// forwardAll hands what is to be forwarded to the queue, one message for each mailbox and sender, with the Delivered-To
// line that ends circles.
func (j *job) forwardAll() error {
	if len(j.forwards) == 0 {
		return nil
	}
	if j.opt.Forward == nil {
		f := j.forwards[0]
		return f.p.trouble(f.i, noQueue(f.to.String()))
	}
	type group struct {
		p      *Plan
		sender envelope.Address
	}
	var order []group
	first := make(map[group]Instruction)
	byGroup := make(map[group][]envelope.Address)
	for _, f := range j.forwards {
		g := group{f.p, f.p.senderTo(f.to)}
		if byGroup[g] == nil {
			order = append(order, g)
			first[g] = f.i
		}
		byGroup[g] = append(byGroup[g], f.to)
	}
	for _, g := range order {
		e := envelope.Envelope{Sender: g.sender, Recipients: byGroup[g], Body: j.envelope.Body, SMTPUTF8: j.envelope.SMTPUTF8,
			RequireTLS: j.envelope.RequireTLS}
		if err := j.opt.Forward(j.ctx, j.forwarded(g.p), &e); err != nil {
			return g.p.trouble(first[g], err)
		}
		for _, to := range e.Recipients {
			j.gone = append(j.gone, "it was forwarded to "+to.Path())
		}
	}
	return nil
}

// forwarded is the message with the line by which it is known when it comes back.
func (j *job) forwarded(p *Plan) *message.Message {
	if p.To.IsNull() {
		return j.m
	}
	return j.m.Prepend([]byte("Delivered-To: " + p.To.String() + "\n"))
}
