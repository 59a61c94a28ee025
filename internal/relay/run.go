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
	Parallel    int  // messages at a time; 0 = 20
	PerDomain   int  // messages at a time whose first recipient is of one domain; 0 = 2
	Log         *slog.Logger
	Now         func() time.Time // nil = time.Now
	initialized sync.Once
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
		var wg sync.WaitGroup
		wg.Go(func() { s.feed(ctx, due) })
		for range min(r.Parallel, len(due)) {
			wg.Go(func() { s.work(ctx) })
		}
		wg.Wait()
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

// schedule hands out entries so that no domain, and no host, keeps all workers busy.
type schedule struct {
	r  *Runner
	mu sync.Mutex
	// waiting are entries by the domain of their first recipient, and order are the domains that have some, in turn.
	waiting map[string][]due
	order   []string
	turn    int // place in order of the domain that comes next
	active  map[string]int
	// parked are entries by the host for which others wait. There is always one of those, or one that came from there, and
	// when it is done with the next one follows.
	parked  map[string][]due
	changed *sync.Cond
	left    int  // waiting and parked
	feeding bool // more may come
	counts  Counts
}

// due is an entry that waits for a worker.
type due struct {
	id       queue.ID
	domain   string
	priority int
	host     string // it was parked for
}

func newSchedule(r *Runner) *schedule {
	s := &schedule{r: r, waiting: make(map[string][]due), active: make(map[string]int), parked: make(map[string][]due), feeding: true}
	s.changed = sync.NewCond(&s.mu)
	r.Relay.pool.crowd(s.fewer)
	return s
}

// feed reads the entries' envelopes for their domain and priority (RFC 6710), while workers are at those that it has read.
func (s *schedule) feed(ctx context.Context, ids []queue.ID) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.feeding = false
		s.changed.Broadcast()
	}()
	for batch := range slices.Chunk(ids, feedAtOnce) {
		if ctx.Err() != nil {
			return
		}
		s.add(s.read(batch))
	}
}

// feedAtOnce is how many entries are read before workers see them: those of high priority among them come first.
const feedAtOnce = 256

// read finds the domains of entries. Those that are gone, or set aside and logged, are left out.
func (s *schedule) read(ids []queue.ID) map[string][]due {
	found := make(map[string][]due)
	for e, err := range s.r.Queue.ReadAll(ids) {
		if err != nil {
			continue
		}
		domain := ""
		for _, rcpt := range e.Recipients {
			if rcpt.State.Open() {
				domain, _ = s.r.Relay.o.Router.Destination(rcpt.Address)
				break
			}
		}
		found[domain] = append(found[domain], due{id: e.ID, domain: domain, priority: priority(e.Envelope)})
	}
	return found
}

// add puts entries in line, those of high priority first.
func (s *schedule) add(found map[string][]due) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for domain, list := range found {
		if _, known := s.waiting[domain]; !known {
			s.order = append(s.order, domain)
		}
		all := append(s.waiting[domain], list...)
		slices.SortStableFunc(all, func(a, b due) int { return b.priority - a.priority })
		s.waiting[domain] = all
		s.left += len(list)
	}
	s.changed.Broadcast()
}

// next is an entry whose domain has not got its share of workers, or false when none is left.
func (s *schedule) next() (d due, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.left > 0 || s.feeding {
		for n := range s.order {
			i := (s.turn + n) % len(s.order)
			domain := s.order[i]
			if list := s.waiting[domain]; s.active[domain] < s.r.PerDomain && len(list) > 0 {
				s.waiting[domain] = list[1:]
				s.active[domain]++
				s.left--
				s.turn = i + 1
				return list[0], true
			}
		}
		s.changed.Wait()
	}
	return d, false
}

func (s *schedule) work(ctx context.Context) {
	for ctx.Err() == nil {
		d, ok := s.next()
		if !ok {
			return
		}
		counts, crowded := s.r.entry(ctx, d.id)
		s.done(d, counts, crowded)
	}
	s.mu.Lock()
	s.left, s.feeding = 0, false
	s.changed.Broadcast()
	s.mu.Unlock()
}

// done notes what was done with an entry, and parks it when others wait for the host crowded.
func (s *schedule) done(d due, c Counts, crowded string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.add(c)
	s.active[d.domain]--
	if d.host != "" && d.host != crowded {
		s.unpark(d.host)
	}
	if d.host = crowded; crowded != "" {
		s.left++
		if s.r.Relay.pool.crowded(crowded) {
			s.parked[crowded] = append(s.parked[crowded], d)
		} else { // they have been served meanwhile
			s.waiting[d.domain] = append(s.waiting[d.domain], d)
		}
	}
	s.changed.Broadcast()
}

// fewer hears that one that waited for a host does so no more.
func (s *schedule) fewer(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unpark(host)
	s.changed.Broadcast()
}

// unpark puts an entry that was parked for a host in line again, before those of its domain that came later.
func (s *schedule) unpark(host string) {
	list := s.parked[host]
	if len(list) == 0 {
		return
	}
	s.parked[host] = list[1:]
	d := list[0]
	s.waiting[d.domain] = slices.Insert(s.waiting[d.domain], 0, d)
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
