package delivery

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// A Plan is what a delivery to one recipient is going to do. Deliver carries plans out and [Explain] shows them, so what
// is told is what happens.
type Plan struct {
	Recipient envelope.Address // as it was given
	To        envelope.Address // as it is delivered to: aliases followed, folded, with its extension
	Home      string           // path of the mailbox
	Source    string           // the file with the instructions, "" = none, or the rule that matched
	NewSender envelope.Address // the sender of what is forwarded
	Steps     []Instruction

	Answer string // with a Vacation: that the sender is answered, or why not

	answer *answer // nil = none
	verp   bool    // NewSender takes each recipient into its local part
	box    *postoffice.Mailbox
	file   postoffice.Instructions
}

// plan finds out what is to be done for r; the caller closes it.
func (j *job) plan(find Finder, r envelope.Address) (*Plan, error) {
	box, err := find(r)
	if err != nil {
		return nil, err
	}
	p := &Plan{Recipient: r, To: box.DeliveredTo(), Home: box.Path(), NewSender: j.sender, box: box}
	err = j.fillPlan(p)
	if err == nil {
		err = p.nameFolders()
	}
	if err == nil {
		err = j.prepareAnswer(p)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *Plan) close() {
	if p.box != nil {
		p.box.Close()
	}
}

func (j *job) fillPlan(p *Plan) (err error) {
	if err := j.checkLoop(p.To); err != nil {
		return err
	}
	rule, err := j.match(p)
	if err != nil {
		return err
	}
	if rule != nil && rule.replaces() {
		p.Source, p.Steps = rule.source(), rule.steps()
		return nil
	}
	if p.file, err = p.box.Instructions(); err != nil {
		return err
	}
	p.Source = p.file.Path
	if p.Steps, err = parse(p.file); err != nil {
		return err
	}
	p.owner()
	if rule != nil {
		rule.mark(p.Steps)
	}
	return nil
}

// nameFolders writes the names of folders as they stand on disk. A folder that another program made in UTF-8 is taken as it is.
func (p *Plan) nameFolders() error {
	for n, i := range p.Steps {
		if i.Kind != Maildir || i.Folder == "" {
			continue
		}
		name, err := maildir.FolderName(i.Folder)
		if err != nil {
			return p.failed(i, status.Errorf(status.Usage, "folder %q: %w", i.Folder, err))
		}
		if name != i.Folder {
			if info, err := p.look(path.Join(i.Arg, "."+i.Folder, "cur")); err == nil && info.IsDir() {
				continue
			}
		}
		p.Steps[n].Folder = name
	}
	return nil
}

// look is stat of what an instruction names.
func (p *Plan) look(at string) (os.FileInfo, error) {
	if p.box != nil && !path.IsAbs(at) {
		return p.box.Home().Stat(at)
	}
	return os.Stat(at)
}

// owner changes the sender of forwards where the file NAME has a sister NAME-owner (dot-qmail(5)): bounces then go to
// LOCAL-owner. With NAME-owner-default as well each recipient gets a sender of his own (VERP).
func (p *Plan) owner() {
	if p.NewSender.IsNull() || p.file.Name == "" || p.file.Forward {
		return
	}
	name := p.file.Name
	if base, ok := strings.CutSuffix(name, "default"); ok && p.file.Default != "" {
		name = base + strings.ReplaceAll(p.file.Default, ".", ":")
	}
	if !p.box.Has(name+"-owner") || p.To.Local == "" {
		return
	}
	p.NewSender = envelope.Address{Local: p.To.Local + "-owner", Domain: p.To.Domain}
	if p.box.Has(name + "-owner-default") {
		p.NewSender.Local += "-"
		p.verp = true
	}
}

// senderTo is the envelope sender of the copy that goes to a.
func (p *Plan) senderTo(a envelope.Address) envelope.Address {
	s := p.NewSender
	if p.verp {
		s.Local += a.Local + "=" + a.Domain
	}
	return s
}

// environ are the variables of qmail-command(8) for the commands of p. Their values come from outside: a command must
// quote them.
func (p *Plan) environ(sender envelope.Address, from string) ([]string, error) {
	user, ext, home := os.Getenv("USER"), "", os.Getenv("HOME")
	if p.box != nil {
		user, ext, home = p.box.Address.Local, p.box.Ext, p.Home
	}
	newSender := p.NewSender.String()
	if p.verp {
		newSender += "-@[]"
	}
	env := []string{
		"NEWSENDER=" + newSender, "USER=" + user, "HOME=" + home, "LOCAL=" + p.To.Local, "HOST=" + p.To.Domain,
		"EXT=" + ext, "EXT2=" + afterDash(ext, 1), "EXT3=" + afterDash(ext, 2), "EXT4=" + afterDash(ext, 3),
		"HOST2=" + beforeDot(p.To.Domain, 1), "HOST3=" + beforeDot(p.To.Domain, 2), "HOST4=" + beforeDot(p.To.Domain, 3),
		"DTLINE=Delivered-To: " + p.To.String() + "\n", "RPLINE=Return-Path: " + sender.Path() + "\n", "UFLINE=" + from,
	}
	if p.file.Default != "" {
		env = append(env, "DEFAULT="+p.file.Default)
	}
	for _, kv := range env {
		if strings.ContainsRune(kv, 0) {
			return nil, status.Errorf(status.Data, "pass %q to a command: there is a NUL in it", status.Escape(kv, 100))
		}
	}
	return env, nil
}

// afterDash is what stands after the nth '-' of s, "" without one.
func afterDash(s string, n int) string {
	for range n {
		var ok bool
		if _, s, ok = strings.Cut(s, "-"); !ok {
			return ""
		}
	}
	return s
}

// beforeDot is what stands before the nth '.' of s from the end, as far as there are dots.
func beforeDot(s string, n int) string {
	for range n {
		i := strings.LastIndexByte(s, '.')
		if i < 0 {
			break
		}
		s = s[:i]
	}
	return s
}

// place is where a Maildir or mbox of the plan is, for people.
func (p *Plan) place(i Instruction) string {
	at := filepath.FromSlash(i.Arg)
	if !path.IsAbs(i.Arg) {
		at = filepath.Join(p.Home, at)
	}
	if i.Folder != "" {
		at = filepath.Join(at, "."+i.Folder)
	}
	return at
}
