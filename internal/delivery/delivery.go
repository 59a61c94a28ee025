// Package delivery puts a message into mailboxes: for all recipients or for none.
//
// It hides where the copies go (the office's instructions, or targets named by hand) and the order that
// makes them safe. Every copy is first written where nobody sees it, and only when all are on disk they
// become visible. It guarantees that the bytes of the message stand unchanged below the lines it adds:
// Return-Path (RFC 5321 section 4.4) and Delivered-To. A Return-Path that was there stays below ours, the
// first one counts. A message that has the Delivered-To line that would be added has gone round in a
// circle and is refused for ever; one mailbox named twice gets one copy.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// Options change a delivery; the zero value is fine.
type Options struct {
	// Placed is told the path of each copy once all are safe; for an mbox that is the file.
	Placed func(path string)
	// Rules are tried before the mailbox's own instructions.
	Rules []Rule
	// Vacation answers the senders of what is delivered; nil = no. It needs Forward, and recipients with a mailbox.
	Vacation *Vacation
	// Forward hands a message to the queue and returns when it is on disk there. Without it, mail that is to be forwarded waits.
	Forward func(ctx context.Context, m *message.Message, e *envelope.Envelope) error
	// CanForward tells Explain what is in the way of Forward, and makes nothing; nil = that is not known.
	CanForward func() error
	// Quota bounds each mailbox, its folders included; zero: as its maildirsize says. A full one is temporary trouble, 452 4.2.2,
	// or refuses the message, 552 5.2.2, with RefuseFull.
	Quota      maildir.Quota
	RefuseFull bool
	Stdout     io.Writer // for the target -; nil = there is none
	// Ready is told, before anything is opened for writing, of the directories that the delivery writes into, and whether it runs
	// commands. Its error ends the delivery.
	Ready func(dirs []string, commands bool) error
}

// A Finder tells the mailbox of an address: [postoffice.Office.Lookup], or one that knows a single home. The caller closes the
// mailbox.
type Finder func(envelope.Address) (*postoffice.Mailbox, error)

// Deliver does with m what e's recipients want, all or none: Maildirs and mboxes get their copies and the queue what is
// forwarded, last and together. The error is a *status.Error for the first recipient that failed: permanent for an unknown
// user or domain (550), a loop (554 5.4.6) and what a command refuses, else temporary; a full disk is 452. When ctx ends
// before all copies are written, nothing is delivered. What commands did, and what was forwarded before a Maildir failed in
// the very end, stays done: it is done again when the message comes again.
func Deliver(ctx context.Context, find Finder, m *message.Message, e *envelope.Envelope, opt Options) (err error) {
	if len(e.Recipients) == 0 {
		return status.Errorf(status.Usage, "deliver: no recipient")
	}
	j, err := newJob(ctx, m, e, opt)
	if err != nil {
		return err
	}
	defer func() { err = j.close(err) }()
	for _, r := range e.Recipients {
		p, err := j.plan(find, r)
		if err != nil {
			return failed(r, err)
		}
		j.plans = append(j.plans, p)
	}
	if err := j.ready(j.plans...); err != nil {
		return err
	}
	for _, p := range j.plans {
		if err := j.run(p); err != nil {
			return failed(p.Recipient, err)
		}
	}
	if err := j.finish(); err != nil {
		return err
	}
	j.sendAnswers()
	return nil
}

// ready tells the caller of what the plans will write to and run.
func (j *job) ready(plans ...*Plan) error {
	if j.opt.Ready == nil {
		return nil
	}
	var dirs []string
	commands := false
	for _, p := range plans {
		if p.Home != "" {
			dirs = append(dirs, p.Home)
		}
		for _, i := range p.Steps {
			if i.Kind == Command {
				commands = true
				dirs = append(dirs, cmp.Or(p.Home, "."))
			}
			if (i.Kind == Maildir || i.Kind == Mbox || i.Kind == MH) && (p.Home == "" || filepath.IsAbs(i.Arg)) {
				i.Folder = ""
				at := p.place(i)
				if real, err := filepath.EvalSymlinks(at); err == nil {
					at = real
				}
				dirs = append(dirs, filepath.Dir(at))
			}
		}
	}
	slices.Sort(dirs)
	return j.opt.Ready(slices.Compact(dirs), commands)
}

// failed names the recipient in an error that does not.
func failed(r envelope.Address, err error) error {
	e := *status.Of(err)
	if errors.Is(err, errSaid) {
		return err
	}
	if e.Class == status.Permanent && strings.Contains(e.Text, r.Path()) {
		return &e
	}
	e.Text, e.Err = "deliver to "+r.Path()+": "+e.Text, err
	return &e
}

// A job is one delivery on its way: what is staged, and what has to be closed.
type job struct {
	ctx      context.Context
	m        *message.Message
	envelope letter
	sender   envelope.Address
	header   message.Header
	loop     []envelope.Address // the Delivered-To fields of the message
	opt      Options
	plans    []*Plan
	done     map[string]bool // mailboxes and files that have a copy
	mboxes   []mboxStep
	outward  []outward
	numbered []*numbered
	counted  []counted
	forwards []forward
	gone     []string // what cannot be taken back, in words
	dirs     []*maildir.Dir
	staged   []*maildir.Staged
	appended []*appended
	paths    []string
}

// newJob reads the message's Delivered-To fields. A header over the limits is no reason to refuse the message: the
// fields up to there count.
func newJob(ctx context.Context, m *message.Message, e *envelope.Envelope, opt Options) (*job, error) {
	h, err := m.Header()
	if err != nil && status.Of(err).Class != status.Permanent {
		return nil, err
	}
	j := &job{ctx: ctx, m: m, envelope: letter{e}, sender: e.Sender, header: h, opt: opt, done: make(map[string]bool)}
	for _, f := range h.All("Delivered-To") {
		if a, err := envelope.Parse(f.Value()); err == nil {
			j.loop = append(j.loop, normal(a))
		}
	}
	return j, nil
}

// normal is the form in which two addresses of the office are compared: without case, A-labels.
func normal(a envelope.Address) envelope.Address {
	a.Local = strings.ToLower(a.Local)
	if ascii, err := a.ASCII(); err == nil {
		a = ascii
	}
	return a
}

// maxReceived bounds the hosts that a message came through (RFC 5321 section 6.3).
const maxReceived = 100

// checkLoop refuses a message that was delivered to the address before, or that came through more hosts than any way has.
func (j *job) checkLoop(to envelope.Address) error {
	if n := len(j.header.All("Received")); n > maxReceived {
		return status.Errorf(status.HardFail, "mail loop: the message has %d Received fields", n).WithReply(554, "5.4.6")
	}
	if !to.IsNull() && slices.ContainsFunc(j.loop, normal(to).Equal) {
		return status.Errorf(status.HardFail, "mail loop: the message was delivered to %s before", to.Path()).WithReply(554, "5.4.6")
	}
	return nil
}

// stage writes one copy into dir's tmp.
func (j *job) stage(dir *maildir.Dir, to envelope.Address, i Instruction) (*maildir.Staged, error) {
	flags, err := letters(j.ctx, dir, i)
	if err != nil {
		return nil, err
	}
	s, err := dir.Stage(j.copy(to), maildir.StageOptions{Flags: flags})
	if err != nil {
		return nil, status.Of(err)
	}
	j.staged = append(j.staged, s)
	j.paths = append(j.paths, filepath.Join(dir.Path(), filepath.FromSlash(s.Path())))
	return s, nil
}

// copy is the message with our lines on top; without an address there is no Delivered-To. It is read by one
// reader at a time.
func (j *job) copy(to envelope.Address) io.Reader {
	lines := "Return-Path: " + j.sender.Path() + "\n"
	if !to.IsNull() {
		lines += "Delivered-To: " + to.String() + "\n"
	}
	r := j.m.Prepend([]byte(lines)).Reader()
	return &wholeReader{j.ctx, r, r.Size()}
}

// wholeReader reads r until the context is done, and does not take the end of r for the end of the message when
// bytes are missing: a file that somebody cuts short meanwhile is not delivered.
type wholeReader struct {
	ctx  context.Context
	r    *io.SectionReader
	left int64 // bytes from here to the end
}

func (w *wholeReader) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.r.Read(p)
	w.left -= int64(n)
	if err == io.EOF && w.left > 0 {
		return n, fmt.Errorf("%d bytes are missing: %w", w.left, io.ErrUnexpectedEOF)
	}
	return n, err
}

// Seek lets a writer look at the end beforehand.
func (w *wholeReader) Seek(offset int64, whence int) (int64, error) {
	at, err := w.r.Seek(offset, whence)
	if err == nil {
		w.left = w.r.Size() - at
	}
	return at, err
}

// finish does what comes last, and says of what stands already when that fails: it is not taken back, and comes again with the
// message.
func (j *job) finish() error {
	err := j.settle()
	if err == nil || len(j.gone) == 0 {
		return err
	}
	e := *status.Of(err)
	e.Text, e.Err = e.Text+"; "+strings.Join(j.gone, "; "), err
	return &e
}

// settle sees to what cannot be taken back, mboxes, which stay locked from then on, the numbers in MH folders, forwards, and the
// names of the copies.
func (j *job) settle() error {
	for _, do := range []func() error{j.sendOut, j.appendAll, j.number} {
		if err := do(); err != nil {
			return err
		}
	}
	if err := j.ctx.Err(); err != nil {
		return status.Errorf(status.TempFail, "delivery was interrupted: %w", err)
	}
	if err := j.forwardAll(); err != nil {
		return err
	}
	return j.commit()
}

// commit makes all copies visible. What was appended to mbox files is on disk by now and under a lock; it
// stays only when the Maildirs succeed.
func (j *job) commit() error {
	if err := maildir.Commit(j.staged); err != nil {
		return err
	}
	j.staged = nil
	for _, a := range j.appended {
		a.keep()
	}
	for _, n := range j.numbered {
		n.kept = true
	}
	for _, c := range j.counted {
		c.main.CountMessage(c.size)
	}
	for _, d := range j.dirs {
		cleanSometimes(d, time.Now())
	}
	if j.opt.Placed != nil {
		for _, p := range j.paths {
			j.opt.Placed(p)
		}
	}
	return nil
}

const cleanEvery = time.Hour

// cleaned tells when this process last cleaned a Maildir.
var cleaned = struct {
	sync.Mutex
	at map[string]time.Time
}{at: make(map[string]time.Time)}

// cleanSometimes removes what crashed deliveries left in d, at its first delivery and then once an hour: what is removed
// is days old, and to look at all that is in tmp costs more than a delivery should. The mail is safe by now, so trouble
// here is nobody's failure.
func cleanSometimes(d *maildir.Dir, now time.Time) {
	const most = 10_000 // Maildirs that are remembered
	cleaned.Lock()
	last, known := cleaned.at[d.Path()]
	due := !known || now.Sub(last) >= cleanEvery || now.Before(last)
	if due {
		if len(cleaned.at) >= most {
			clear(cleaned.at)
		}
		cleaned.at[d.Path()] = now
	}
	cleaned.Unlock()
	if due {
		d.Clean(now)
	}
}

// close undoes what was not committed and gives everything back. err is how the delivery went: when it failed and
// something could not be undone either, the error that is returned tells both.
func (j *job) close(err error) error {
	var errs []error
	for _, s := range j.staged {
		errs = append(errs, s.Abort())
	}
	for _, a := range j.appended {
		errs = append(errs, a.close())
	}
	for _, n := range j.numbered {
		errs = append(errs, n.close())
	}
	for _, d := range j.dirs {
		errs = append(errs, d.Close())
	}
	for _, s := range j.mboxes {
		errs = append(errs, s.close())
	}
	for _, p := range j.plans {
		p.close()
	}
	trouble := errors.Join(errs...)
	if err == nil || trouble == nil {
		return err
	}
	e := *status.Of(err)
	e.Text, e.Err = e.Text+"; then "+strings.ReplaceAll(trouble.Error(), "\n", "; "), errors.Join(err, trouble)
	return &e
}
