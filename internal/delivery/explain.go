package delivery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// An Explained is what a delivery to one recipient would come to: a plan, or why there is none.
type Explained struct {
	Recipient envelope.Address
	Plan      *Plan
	Err       error
}

// Explain is what Deliver with the same arguments would set out to do, for each recipient. Nothing is made or run.
func Explain(ctx context.Context, find Finder, m *message.Message, e *envelope.Envelope, opt Options) ([]Explained, error) {
	j, err := newJob(ctx, m, e, opt)
	if err != nil {
		return nil, err
	}
	var all []Explained
	for _, r := range e.Recipients {
		p, err := j.plan(find, r)
		if err != nil {
			all = append(all, Explained{r, nil, failed(r, err)})
			continue
		}
		all = append(all, Explained{r, p, j.check(p)})
		p.close()
	}
	return all, nil
}

// ExplainTargets is Explain for ToTargets.
func ExplainTargets(ctx context.Context, targets []Target, m *message.Message, e *envelope.Envelope, opt Options) (Explained, error) {
	j, err := newJob(ctx, m, e, opt)
	if err != nil {
		return Explained{}, err
	}
	p, err := j.byHand(targets)
	if err != nil {
		return Explained{Err: err}, nil
	}
	return Explained{p.Recipient, p, j.check(p)}, nil
}

// Fate is the error that the delivery would end with, as far as it shows before: mistakes in addresses and instructions come
// before all else.
func Fate(all []Explained) error {
	var first error
	for _, x := range all {
		if x.Err != nil && x.Plan == nil {
			return x.Err
		}
		if first == nil {
			first = x.Err
		}
	}
	return first
}

// check finds the mistakes that show before anything is done.
func (j *job) check(p *Plan) error {
	made := make(map[string]bool) // by steps before
	for _, i := range p.Steps {
		err := j.checkStep(p, i, made)
		if err == nil {
			err = j.fits(p, i)
		}
		if err != nil {
			return p.trouble(i, err)
		}
	}
	return nil
}

func (j *job) checkStep(p *Plan, i Instruction, made map[string]bool) error {
	switch {
	case i.Kind == Forward && j.opt.Forward == nil:
		return noQueue(i.Arg)
	case i.Kind == Forward && j.opt.CanForward != nil:
		return j.opt.CanForward()
	case i.Kind == Command:
		_, err := p.runAs()
		return err
	case (i.Kind == Maildir || i.Kind == Mbox || i.Kind == MH) && strings.HasPrefix(i.Arg, "/") && !p.free():
		return errLeaves
	case i.Kind == LMTP && p.box == nil && len(j.envelope.Recipients) == 0:
		return errNobody
	case i.Kind == Maildir || i.Kind == Mbox || i.Kind == MH:
		return p.reach(i, made)
	}
	return nil
}

// reach finds what is in the way to a place: something else in its place, a parent directory that
// is not there, or a way out of the home.
func (p *Plan) reach(i Instruction, made map[string]bool) error {
	info, err := p.look(i.Arg)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && made[path.Dir(i.Arg)] {
		made[i.Arg] = true
		return nil
	}
	if missing {
		info, err = p.look(path.Dir(i.Arg))
	}
	made[i.Arg] = i.Kind != Mbox
	kind := status.TempFail
	if i.Kind != Maildir && (p.box == nil || path.IsAbs(i.Arg)) && missing {
		kind = status.CantCreate // as openPlace has it
	}
	switch {
	case err != nil:
		return status.Errorf(kind, "look for %q: %w", p.place(i), err)
	case (missing || i.Kind != Mbox) && !info.IsDir():
		return status.Errorf(kind, "%q is in no directory, or none itself", p.place(i))
	case !missing && i.Kind == Mbox && !info.Mode().IsRegular():
		return status.Errorf(status.CantCreate, "mbox %q is not a regular file", p.place(i))
	}
	if !missing && i.Kind == Maildir {
		return p.reachParts(i)
	}
	return nil
}

// reachParts finds what stands where a directory of a Maildir has to be.
func (p *Plan) reachParts(i Instruction) error {
	parts := []string{"", "tmp", "new", "cur"}
	if i.Folder != "" {
		parts = append(parts, "."+i.Folder, "."+i.Folder+"/tmp", "."+i.Folder+"/new", "."+i.Folder+"/cur")
	}
	for _, part := range parts {
		info, err := p.look(path.Join(i.Arg, part))
		if err == nil && !info.IsDir() {
			return status.Errorf(status.TempFail, "%q in the Maildir %q is no directory", part, p.place(i))
		}
	}
	return nil
}

// Answer is the kind of the last step where the sender gets an answer; no instruction has it.
const Answer Kind = "answer"

// A Step is an instruction of a plan with all that follows from it, in the words of deliver(1).
type Step struct {
	Recipient string   `json:"recipient"`
	Kind      Kind     `json:"kind"`
	Place     string   `json:"place"` // path, command or address
	Source    string   `json:"source,omitempty"`
	Line      int      `json:"line,omitempty"`
	Folder    string   `json:"folder,omitempty"`
	Flags     string   `json:"flags,omitempty"`
	Keywords  []string `json:"keywords,omitempty"`
	Sender    string   `json:"sender,omitempty"` // of a forward
	Words     string   `json:"words"`
}

// List is the plan step by step.
func (p *Plan) List() []Step {
	var list []Step
	for _, i := range p.Steps {
		s := Step{Recipient: p.To.String(), Kind: i.Kind, Place: i.Arg, Source: p.Source, Line: i.Line, Folder: i.Folder,
			Flags: i.Flags, Keywords: i.Keywords}
		switch i.Kind {
		case Maildir, Mbox, MH:
			s.Place = p.place(i)
		case Forward:
			if a, err := envelope.Parse(i.Arg); err == nil {
				s.Sender = p.senderTo(a).Path()
			}
		}
		s.Words = s.words(p)
		list = append(list, s)
	}
	if p.answer != nil {
		list = append(list, Step{Recipient: p.To.String(), Kind: Answer, Place: p.answer.e.Recipients[0].String(), Sender: "<>", Words: p.Answer})
	}
	return list
}

// words say what the step does.
func (s Step) words(p *Plan) string {
	switch s.Kind {
	case Maildir:
		text := fmt.Sprintf("a copy into the Maildir %q", s.Place)
		if s.Flags != "" {
			text += ", with the flags " + s.Flags
		}
		if len(s.Keywords) > 0 {
			text += ", with the keywords " + strings.Join(s.Keywords, " ")
		}
		return text
	case Mbox:
		return fmt.Sprintf("a copy at the end of the mbox %q", s.Place)
	case MH:
		return fmt.Sprintf("a copy into the MH folder %q", s.Place)
	case Stdout:
		return "a copy on standard output"
	case LMTP:
		return fmt.Sprintf("hand it to the LMTP server %s", s.Place)
	case Command:
		where := p.Home
		if where == "" {
			where = "."
		}
		return fmt.Sprintf("run %q in %q; what follows is left out if it exits 99, and nothing is delivered if it fails", s.Place, where)
	}
	return fmt.Sprintf("forward to <%s> through the queue, bounces to %s", s.Place, s.Sender)
}

// Words are the plan in sentences, a line each.
func (e Explained) Words() []string {
	var out []string
	if p := e.Plan; p != nil {
		head := e.Recipient.Path()
		switch {
		case p.Home == "":
			head = "by hand"
		case !p.To.Equal(e.Recipient):
			head += " is delivered to as " + p.To.Path()
		}
		if p.Home != "" {
			head += fmt.Sprintf(", home %q", p.Home)
		}
		out = append(out, head, p.reason())
		for _, s := range p.List() {
			if s.Kind == Answer { // which is told of also where there is none
				continue
			}
			line := "  " + s.Words
			if s.Line > 0 {
				line = fmt.Sprintf("  line %d: %s", s.Line, s.Words)
			}
			out = append(out, line)
		}
		if p.Answer != "" {
			out = append(out, p.Answer)
		}
	}
	if e.Err != nil {
		out = append(out, "it fails: "+status.Of(e.Err).Line())
	}
	for i := range out {
		out[i] = status.Escape(out[i], status.MaxText)
	}
	return out
}

// reason says why the steps are these.
func (p *Plan) reason() string {
	switch {
	case p.Source == "":
		return "there is no .qmail and no .forward, so:"
	case p.file.Name != "" && p.file.Text == "":
		return p.Source + " is empty, so as without it:"
	case len(p.Steps) == 0:
		return p.Source + " asks for nothing: the message is thrown away"
	}
	return "by " + p.Source + ":"
}

func noQueue(to string) error {
	return status.Errorf(status.Config, "no queue is named that could forward to <%s>", to)
}
