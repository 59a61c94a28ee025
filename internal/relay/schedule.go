package relay

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"pennypost/internal/queue"
)

// schedule hands out entries so that no domain, and no host, and not all hosts that say nothing together, keep everybody
// busy.
type schedule struct {
	r       *Runner
	workers sync.WaitGroup
	mu      sync.Mutex
	lines   map[string]*line
	ready   []*line           // those that somebody may be taken from, in turn
	hand    map[queue.ID]bool // entries in line, parked, or being worked on
	slow    *slow             // workers that have others in their place
	// parked are entries by the host for which others wait. There is always one of those, or one that came from there, and
	// when it is done with the next one follows.
	parked  map[string][]due
	changed *sync.Cond
	left    int  // waiting and parked
	busy    int  // being worked on
	feeding bool // more may come
	counts  Counts
	sooner  chan struct{} // told when counts.Next has become sooner
}

// line are the entries of a domain, by their first recipient.
type line struct {
	domain  string
	waiting []due
	active  int
	parked  int
	ready   bool // it is in schedule.ready
}

// due is an entry that waits for a worker.
type due struct {
	id       queue.ID
	line     *line
	priority int
	host     string // it was parked for
}

func newSchedule(r *Runner) *schedule {
	s := &schedule{r: r, lines: make(map[string]*line), hand: make(map[queue.ID]bool), parked: make(map[string][]due), feeding: true,
		slow: newSlow(r.Parallel, r.patience), sooner: make(chan struct{}, 1)}
	s.changed = sync.NewCond(&s.mu)
	r.Relay.pool.crowd(s.fewer, r.Parallel*slowFactor/2)
	return s
}

// start has so many workers begin. They end with ctx, or when nothing is left after end.
func (s *schedule) start(ctx context.Context, workers int) {
	for range workers {
		s.workers.Go(func() { s.work(ctx) })
	}
}

// end waits until everything is done that was fed.
func (s *schedule) end() {
	s.mu.Lock()
	s.feeding = false
	s.changed.Broadcast()
	s.mu.Unlock()
	s.workers.Wait()
}

// feed reads the entries' envelopes for their domain and priority (RFC 6710), while workers are at those that it has read.
// Those that are in hand already are left out.
func (s *schedule) feed(ctx context.Context, ids []queue.ID) {
	for batch := range slices.Chunk(ids, feedAtOnce) {
		if ctx.Err() != nil {
			return
		}
		s.read(s.take(batch))
	}
}

// feedAtOnce is how many entries are read before workers see them: those of high priority among them come first.
const feedAtOnce = 256

// take takes entries in hand that were not, and returns those.
func (s *schedule) take(ids []queue.ID) (taken []queue.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if !s.hand[id] {
			s.hand[id] = true
			taken = append(taken, id)
		}
	}
	return taken
}

// read puts entries in the lines of their domains. Those that are gone, or set aside and logged, are left out.
func (s *schedule) read(ids []queue.ID) {
	domains, priorities, at := make([]string, len(ids)), make([]int, len(ids)), -1
	bad := make([]bool, len(ids))
	for e, err := range s.r.Queue.ReadAll(ids) {
		at++
		if bad[at] = err != nil; err != nil {
			continue
		}
		priorities[at] = priority(e.Envelope)
		for _, rcpt := range e.Recipients {
			if rcpt.State.Open() {
				domains[at], _ = s.r.Relay.o.Router.Destination(rcpt.Address)
				break
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, id := range ids {
		if bad[i] {
			delete(s.hand, id)
			continue
		}
		s.add(id, domains[i], priorities[i])
	}
	s.changed.Broadcast()
}

// add puts an entry in line, behind those of its priority.
func (s *schedule) add(id queue.ID, domain string, priority int) {
	l := s.lines[domain]
	if l == nil {
		l = &line{domain: strings.Clone(domain)} // not all of the envelope that it is a part of
		s.lines[l.domain] = l
	}
	at := len(l.waiting)
	for at > 0 && l.waiting[at-1].priority < priority {
		at--
	}
	l.waiting = slices.Insert(l.waiting, at, due{id: id, line: l, priority: priority})
	s.left++
	s.offer(l)
}

// offer lets workers take from a line that has not got its share of them, and forgets one that is empty.
func (s *schedule) offer(l *line) {
	switch {
	case len(l.waiting)+l.active+l.parked == 0:
		delete(s.lines, l.domain)
	case len(l.waiting) > 0 && l.active < s.r.PerDomain && !l.ready:
		l.ready = true
		s.ready = append(s.ready, l)
	}
}

// next is an entry whose domain has not got its share of workers, or false when none is left, nor comes back from a worker, or ctx has
// ended.
func (s *schedule) next(ctx context.Context) (d due, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ctx.Err() != nil || len(s.ready) == 0 {
		if ctx.Err() != nil || s.left+s.busy == 0 && !s.feeding {
			return d, false
		}
		s.changed.Wait()
	}
	l := s.ready[0]
	s.ready = s.ready[1:]
	l.ready = false
	d, l.waiting = l.waiting[0], l.waiting[1:]
	l.active++
	s.busy++
	s.left--
	s.offer(l)
	return d, true
}

// work works on entries. When a host is slow with one, another worker starts, and this one ends after it.
func (s *schedule) work(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.look)
	defer stop()
	for {
		d, ok := s.next(ctx)
		if !ok {
			return
		}
		end := s.slow.watch(func() { s.start(ctx, 1) })
		counts, crowded := s.r.entry(ctx, d.id)
		s.done(d, counts, crowded)
		if wasSlow := end(); wasSlow {
			return
		}
	}
}

// look has workers look again whether there is something to do.
func (s *schedule) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

// done notes what was done with an entry, and parks it when others wait for the host crowded.
func (s *schedule) done(d due, c Counts, crowded string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.counts.Next
	s.counts.add(c)
	if !s.counts.Next.Equal(before) {
		select {
		case s.sooner <- struct{}{}:
		default:
		}
	}
	d.line.active--
	s.busy--
	if d.host != "" && d.host != crowded {
		s.unpark(d.host)
	}
	d.host = crowded
	switch {
	case crowded == "":
		delete(s.hand, d.id)
	case s.r.Relay.pool.crowded(crowded):
		s.left++
		d.line.parked++
		s.parked[crowded] = append(s.parked[crowded], d)
	default: // they have been served meanwhile
		s.left++
		d.line.waiting = append(d.line.waiting, d)
	}
	s.offer(d.line)
	s.changed.Broadcast()
}

// soonest is when the first of those entries is due that were done with since it was asked the last time; zero = nothing is
// known.
func (s *schedule) soonest() (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, s.counts.Next = s.counts.Next, time.Time{}
	return next
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
		delete(s.parked, host)
		return
	}
	s.parked[host] = list[1:]
	d := list[0]
	d.line.parked--
	d.line.waiting = slices.Insert(d.line.waiting, 0, d)
	s.offer(d.line)
}
