package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pennypost/internal/cli"
	"pennypost/internal/delivery"
	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/queue"
	"pennypost/internal/queue/report"
	"pennypost/internal/relay"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// runOptions are the flags of run.
type runOptions struct {
	options
	follow                        bool
	domain, id, sender, recipient string
	early                         bool
	office, host, bounce          string
	postmaster                    string
	parallel, perHost             int
	attempt                       time.Duration
	retry                         relay.Retry
	quiet                         bool
	ways                          wayOptions
}

func newRun(o *options) *cobra.Command {
	r := runOptions{retry: relay.DefaultRetry}
	cmd := &cobra.Command{
		Use: "run [FLAGS]", Short: "Send what is due in a queue",
		Long: "Run sends what is due in a queue, tells senders what could not be delivered, and exits. Several runs may work on\n" +
			"one queue. It exits 0 when it has done its work, whatever became of the mail.",
		Example: "  smtpsend --queue /srv/mail/queue run --office /srv/mail\n" +
			"  smtpsend --queue /srv/mail/queue run --follow\n" +
			"  smtpsend --queue /srv/mail/queue run --server smtp+tls://relay.example.net:587 --user me --password-file /etc/relay.pass",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.queue = o.queue
			return r.run(cmd)
		},
	}
	r.sendingFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&r.follow, "follow", false, "stay, and work when something comes or becomes due")
	f.StringVar(&r.domain, "domain", "", "only recipients in `DOMAIN`, or .DOMAIN and below it, also those that are not due again (ETRN)")
	f.StringVar(&r.id, "id", "", "only the entry `ID`, also when it is not due again")
	f.StringVar(&r.sender, "sender", "", "only entries whose sender contains `TEXT`, also those that are not due again")
	f.StringVar(&r.recipient, "recipient", "", "only recipients who contain `TEXT`, also those that are not due again")
	f.BoolVar(&r.early, "all", false, "also what was tried before and is not due again")
	f.StringVar(&r.office, "office", "", "deliver into the post office `DIR` what is for its domains (default $MAIL_OFFICE)")
	f.StringVar(&r.host, "name", "", "our `NAME` in reports (default the host's name)")
	f.StringVar(&r.postmaster, "postmaster", "", "who hears of reports that cannot be delivered, `ADDRESS` (default the office's, or postmaster@NAME)")
	f.StringVar(&r.bounce, "bounce", "", "make reports with `PROGRAM`, which is given ours")
	f.IntVarP(&r.parallel, "parallel", "j", 20, "work on `N` messages at a time")
	f.IntVar(&r.perHost, "per-host", 2, "make `N` connections to a host at a time")
	f.DurationVar(&r.attempt, "attempt-timeout", 10*time.Minute, "give a destination `TIME` for a message")
	f.DurationVar(&r.retry.First, "retry", r.retry.First, "try again after `TIME`, and then after twice the time before")
	f.DurationVar(&r.retry.Max, "max-retry", r.retry.Max, "but wait `TIME` at most")
	f.DurationVar(&r.retry.Warn, "warn-after", r.retry.Warn, "tell the sender of the delay after `TIME`")
	f.DurationVar(&r.retry.GiveUp, "give-up-after", r.retry.GiveUp, "give up after `TIME`")
	r.ways.flags(f)
	f.BoolVarP(&r.quiet, "quiet", "q", false, "write no log")
	return cmd
}

// check refuses what makes no sense.
func (r *runOptions) checkRun() error {
	switch {
	case r.parallel < 1 || r.parallel > 1000, r.perHost < 1 || r.perHost > 1000:
		return cli.Usagef("--parallel and --per-host: want 1 to 1000")
	case r.retry.First <= 0 || r.retry.Max < r.retry.First || r.retry.Warn <= 0 || r.retry.GiveUp <= 0 || r.attempt <= 0:
		return cli.Usagef("the times must be more than nothing, and --max-retry not less than --retry")
	case r.follow && r.narrow():
		return cli.Usagef("--follow does not go with --domain, --id, --sender and --recipient")
	case r.domain != "" && !smtp.ValidName(strings.TrimPrefix(r.domain, ".")):
		return cli.Usagef("--domain %q: want a domain", r.domain)
	}
	return nil
}

// narrow tells whether only a part of the queue is to be run: that is asked for by hand, or by a host that is back.
func (r *runOptions) narrow() bool {
	return r.domain != "" || r.id != "" || r.sender != "" || r.recipient != ""
}

func (r *runOptions) only(e *queue.Entry, a envelope.Address) bool {
	return inDomain(a, r.domain) && (r.id == "" || r.id == string(e.ID)) && contains(e.Envelope.Sender.String(), r.sender) &&
		contains(a.String(), r.recipient)
}

func (r *runOptions) run(cmd *cobra.Command) error {
	if err := r.checkRun(); err != nil {
		return err
	}
	q, err := openQueue(cmd, r.queue)
	if err != nil {
		return err
	}
	defer q.Close()
	r.note(cmd)
	s, err := newSender(cmd.Context(), cmd, r.options)
	if err != nil {
		return err
	}
	defer s.done()
	runner, err := r.runner(cmd, q, s)
	if err != nil {
		return err
	}
	defer runner.Relay.Close()
	if r.follow {
		return follow(cmd.Context(), runner, q)
	}
	_, err = runner.Run(cmd.Context())
	q.Clean(time.Now())
	return interrupted(cmd.Context(), err)
}

// interrupted makes the end that was asked for no failure: what was under way is in the queue.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// runner puts together what a run needs.
func (r *runOptions) runner(cmd *cobra.Command, q *queue.Queue, s *sender) (*relay.Runner, error) {
	if err := r.ways.route(s, r.options); err != nil {
		return nil, err
	}
	router, office, err := r.withOffice(s, q)
	if err != nil {
		return nil, err
	}
	host, postmaster, err := r.names(office)
	if err != nil {
		return nil, err
	}
	log := cli.Logger(cmd)
	if r.quiet {
		log = nil
	}
	o := relay.Options{Router: router, Parallel: 2 * r.parallel, PerHost: r.perHost, Attempt: r.attempt, Reuse: true}
	if !r.narrow() { // what is asked for by hand is tried
		hosts, err := relay.OpenHosts(q.Root(), "hosts")
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, hosts.Close)
		o.Hosts = hosts
	}
	if o.Tried, err = r.ways.reporter(s); err != nil {
		return nil, err
	}
	runner := &relay.Runner{Queue: q, Relay: relay.New(o), Retry: r.retry, Host: host, Postmaster: postmaster, Parallel: r.parallel,
		PerDomain: r.perHost, Log: log, Early: r.early || r.narrow()}
	if r.narrow() {
		runner.Only = r.only
	}
	if r.bounce != "" {
		runner.Compose = r.compose
	}
	return runner, nil
}

// names are ours and the postmaster's: the office's, if it has one.
func (r *runOptions) names(office *postoffice.Office) (host string, postmaster envelope.Address, err error) {
	if host = r.host; host == "" {
		if host, err = os.Hostname(); err != nil || !smtp.ValidName(host) {
			host = "localhost"
		}
	} else if !smtp.ValidName(host) {
		return "", postmaster, cli.Usagef("--name %q: want a domain name", host)
	}
	if office != nil && r.postmaster == "" {
		if box, err := office.Lookup(envelope.Address{Local: "postmaster"}); err == nil {
			defer box.Close()
			return host, box.Address, nil
		}
	}
	postmaster, err = envelope.Parse(cmp.Or(r.postmaster, "postmaster@"+host))
	if err != nil {
		return "", postmaster, cli.Usagef("--postmaster: %w", err)
	}
	return host, postmaster, nil
}

// compose hands our report to the program of --bounce, by mailpipe(7), and takes what it prints instead. One that prints
// nothing tells nobody.
func (r *runOptions) compose(ctx context.Context, f report.Facts) (*message.Message, *envelope.Envelope, error) {
	m, e, err := report.Make(f)
	if m == nil || err != nil {
		return nil, nil, err
	}
	out := message.NewWriter(16 << 20)
	c := handoff.Command{Args: []string{r.bounce}, Deadline: time.Minute, Stdout: out, OutputCap: 16 << 20}
	if err := c.Run(ctx, m, e); err != nil {
		out.Discard()
		return nil, nil, fmt.Errorf("make the report with %q: %w", r.bounce, err)
	}
	made, err := out.Message()
	if err != nil || made.Size() == 0 {
		return nil, nil, err
	}
	return made, e, nil
}

// withOffice is the sender's router, with mail for the domains of the office going there.
func (r *runOptions) withOffice(s *sender, q *queue.Queue) (relay.Router, *postoffice.Office, error) {
	dir := cli.EnvOr(r.office, "MAIL_OFFICE")
	if dir == "" {
		return s.router, nil, nil
	}
	if abs, err := filepath.Abs(dir); err == nil {
		os.Setenv("MAIL_OFFICE", abs) // for the commands of .qmail files
	}
	office, err := postoffice.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	s.close = append(s.close, office.Close)
	return &byOffice{s.router, office, delivery.Options{Forward: q.Accept}}, office, nil
}

// byOffice delivers what is for the office's domains, and leaves the rest to another router.
type byOffice struct {
	relay.Router
	office *postoffice.Office
	opt    delivery.Options
}

// here is the destination of what is for the office; no domain and no server is called so.
const here = "/office"

func (b *byOffice) Destination(a envelope.Address) (string, error) {
	if b.office.HasDomain(a.Domain) {
		return here, nil
	}
	return b.Router.Destination(a)
}

func (b *byOffice) Hops(ctx context.Context, destination string) ([]relay.Hop, error) {
	if destination != here {
		return b.Router.Hops(ctx, destination)
	}
	return []relay.Hop{{Name: "office", Deliver: b.deliver}}, nil
}

// deliver gives each recipient his own delivery, since each has his own fate.
func (b *byOffice) deliver(ctx context.Context, m *message.Message, e *envelope.Envelope) []smtp.Outcome {
	out := make([]smtp.Outcome, len(e.Recipients))
	for i := range e.Recipients {
		out[i].Err = status.Of(delivery.Deliver(ctx, b.office.Lookup, m, e.For(i), b.opt))
	}
	return out
}

// follow runs until it is told to end, woken by what comes into the queue or becomes due.
func follow(ctx context.Context, r *relay.Runner, q *queue.Queue) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return status.Errorf(status.OSErr, "watch the queue: %w", err)
	}
	defer w.Close()
	if err := w.Add(q.Arrivals()); err != nil {
		return status.Errorf(status.OSErr, "watch the queue: %w", err)
	}
	came := make(chan queue.ID)
	go arrivals(ctx, w, came)
	return interrupted(ctx, r.Follow(ctx, came))
}

// arrivals tells of entries that get their names, and by an empty one that events were lost, until ctx ends or the watcher is
// closed.
func arrivals(ctx context.Context, w *fsnotify.Watcher, came chan<- queue.ID) {
	for {
		var id queue.ID
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-w.Events:
			if !ok {
				return
			}
			if id, ok = queue.Arrived(ev.Name); !ok || !ev.Has(fsnotify.Rename) {
				continue
			}
		case <-w.Errors:
		}
		select {
		case came <- id:
		case <-ctx.Done():
			return
		}
	}
}

// terminalWidth is that of a terminal.
func terminalWidth(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	n, _, err := term.GetSize(int(f.Fd()))
	return n, err == nil && n > 0
}
