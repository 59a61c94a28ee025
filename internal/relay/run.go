package relay

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/queue/report"
	"pennypost/internal/status"
)

// A Runner sends what is due in a queue and tells senders what became of their mail. Several may work on one queue.
type Runner struct {
	Queue *queue.Queue
	Relay *Relay
	Retry Retry
	Host  string // our name, in reports
	// Postmaster hears of reports that cannot be delivered; the null address = nobody.
	Postmaster envelope.Address
	// Compose makes reports; nil = report.Make. A nil message tells nobody.
	Compose func(context.Context, report.Facts) (*message.Message, *envelope.Envelope, error)
	// Only limits a run to recipients of which it is true; nil = all.
	Only        func(*queue.Entry, envelope.Address) bool
	Early       bool // try also those that were tried before and are not due again
	Parallel    int  // messages at a time, without those that hosts are slow with; 0 = 20
	PerDomain   int  // messages at a time whose first recipient is of one domain; 0 = 2
	Log         *slog.Logger
	Now         func() time.Time // nil = time.Now
	initialized sync.Once
	patience    time.Duration // after which a message is one that a host is slow with; 0 = 3 s
}

// Retry says when to try again, and for how long. The zero value is not useful: see DefaultRetry.
type Retry struct {
	First  time.Duration // wait after the first failure, doubled with each
	Max    time.Duration // the longest wait
	Warn   time.Duration // tell the sender of the delay after this
	GiveUp time.Duration // then the failure is permanent
}

// DefaultRetry follows RFC 5321 section 4.5.4.1.
var DefaultRetry = Retry{First: 5 * time.Minute, Max: 4 * time.Hour, Warn: 4 * time.Hour, GiveUp: 5 * 24 * time.Hour}

// Wait is how long to wait after so many attempts. chance, from 0 to 1, spreads it by a tenth to either side.
func (r Retry) Wait(attempts int, chance float64) time.Duration {
	wait := r.Max
	if n := max(attempts-1, 0); n < 30 && r.First<<n > 0 && r.First<<n < r.Max {
		wait = r.First << n
	}
	return time.Duration(float64(wait) * (0.9 + 0.2*chance))
}

const (
	defaultWorkers   = 20
	defaultPerDomain = 2
)

// Counts are what a run did.
type Counts struct {
	Messages                   int       // that were worked on
	Delivered, Delayed, Failed int       // recipients
	Reports                    int       // that were put into the queue
	Busy                       int       // entries another process was at
	Next                       time.Time // when something will be due; zero = nothing that is known of
}

func (r *Runner) init() {
	r.initialized.Do(func() {
		if r.Parallel == 0 {
			r.Parallel = defaultWorkers
		}
		if r.PerDomain == 0 {
			r.PerDomain = defaultPerDomain
		}
		if r.patience == 0 {
			r.patience = patience
		}
		if r.Log == nil {
			r.Log = slog.New(slog.DiscardHandler)
		}
		if r.Now == nil {
			r.Now = time.Now
		}
		if r.Compose == nil {
			r.Compose = func(_ context.Context, f report.Facts) (*message.Message, *envelope.Envelope, error) {
				return report.Make(f)
			}
		}
	})
}

// Run works once on everything that is due, reports made meanwhile included. The error is that of reading the queue, or of
// ctx; what is wrong with an entry is logged and leaves it for the next time.
func (r *Runner) Run(ctx context.Context) (Counts, error) {
	r.init()
	var total Counts
	done := make(map[queue.ID]bool)
	for {
		due, err := r.candidates(&total)
		if err != nil {
			return total, err
		}
		due = slices.DeleteFunc(due, func(id queue.ID) bool { return done[id] })
		if len(due) == 0 {
			return total, nil
		}
		for _, id := range due {
			done[id] = true
		}
		s := newSchedule(r)
		s.start(ctx, min(r.Parallel, len(due)))
		s.feed(ctx, due)
		s.end()
		total.add(s.counts)
		if err := ctx.Err(); err != nil {
			return total, err
		}
		if s.counts.Reports == 0 {
			return total, nil
		}
	}
}

// candidates are the entries to look at.
func (r *Runner) candidates(c *Counts) (ids []queue.ID, err error) {
	if r.Early {
		return r.Queue.IDs()
	}
	ids, next, err := r.Queue.Due(r.Now())
	c.soonest(next)
	return ids, err
}

// soonest notes that something will be due then; zero = nothing.
func (c *Counts) soonest(next time.Time) {
	if !next.IsZero() && (c.Next.IsZero() || next.Before(c.Next)) {
		c.Next = next
	}
}

func (c *Counts) add(o Counts) {
	c.Messages += o.Messages
	c.Delivered += o.Delivered
	c.Delayed += o.Delayed
	c.Failed += o.Failed
	c.Reports += o.Reports
	c.Busy += o.Busy
	c.soonest(o.Next)
}

// entry works on one entry. It is to be worked on once more when crowded is a host: others wait for that.
func (r *Runner) entry(ctx context.Context, id queue.ID) (c Counts, crowded string) {
	l, err := r.Queue.Lock(id)
	switch {
	case queue.IsBusy(err):
		return Counts{Busy: 1}, ""
	case queue.IsGone(err):
		return Counts{}, ""
	case err != nil:
		r.Log.Error("cannot work on an entry", "id", id, "err", err)
		return Counts{}, ""
	}
	defer l.Unlock()
	w := &work{r: r, l: l, now: r.Now()}
	if err := w.run(ctx); err != nil {
		r.Log.Error("entry left for later", "id", id, "err", status.Of(err).Text)
		return w.counts, ""
	}
	if w.crowded != "" {
		w.counts.Messages = 0
		return w.counts, w.crowded
	}
	if next, ok := l.Due(); ok {
		w.counts.soonest(next)
	}
	return w.counts, ""
}
