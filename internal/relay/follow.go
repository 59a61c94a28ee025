package relay

import (
	"context"
	"time"

	"pennypost/internal/queue"
)

const (
	lookAgain = 10 * time.Minute      // at the whole queue, at the latest: a change that nobody tells of is found then
	calm      = 50 * time.Millisecond // what comes together is sent together
	cleanHour = time.Hour             // between two looks for what was never finished
	// A look at a large queue takes long, so it is not looked at for more than a tenth of the time.
	restFactor = 10
)

// Follow works on what is due and on what comes or becomes due, until ctx ends. arrivals tells of entries that come; the empty
// ID says that some may have been missed. What takes long holds up nothing that comes meanwhile. The error is that of reading
// the queue, or of ctx.
func (r *Runner) Follow(ctx context.Context, arrivals <-chan queue.ID) error {
	r.init()
	ctx, cancel := context.WithCancel(ctx)
	s := newSchedule(r)
	s.start(ctx, r.Parallel)
	defer s.end()
	defer cancel()
	f := &follower{r: r, s: s, timer: time.NewTimer(0), rest: time.Second}
	defer f.timer.Stop()
	var came []queue.ID
	var gather <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-arrivals:
			if id == "" {
				f.wake(calm)
				continue
			}
			if came = append(came, id); gather == nil {
				gather = time.After(calm)
			}
		case <-gather:
			s.feed(ctx, came)
			came, gather = nil, nil
		case <-s.sooner:
			f.wakeAt(s.soonest())
		case <-f.timer.C:
			if err := f.look(ctx); err != nil {
				return err
			}
		}
	}
}

// follower looks at the whole queue when its timer says so.
type follower struct {
	r       *Runner
	s       *schedule
	timer   *time.Timer
	at      time.Time     // of the timer
	rest    time.Duration // between two looks, at least
	cleaned time.Time
}

// look works on what is due and sets the timer to when something else will be.
func (f *follower) look(ctx context.Context) error {
	begun := time.Now()
	due, next, err := f.r.Queue.Due(f.r.Now())
	if err != nil {
		return err
	}
	f.rest = max(restFactor*time.Since(begun), time.Second)
	f.s.feed(ctx, due)
	if time.Since(f.cleaned) > cleanHour {
		f.r.Queue.Clean(time.Now())
		f.cleaned = time.Now()
	}
	f.at = time.Time{}
	f.wake(lookAgain)
	f.wakeAt(next)
	return nil
}

// wakeAt has the timer go off at a time of the runner, if that is not zero.
func (f *follower) wakeAt(next time.Time) {
	if !next.IsZero() {
		f.wake(max(next.Sub(f.r.Now()), f.rest))
	}
}

// wake has the timer go off after a while, unless it does so sooner.
func (f *follower) wake(after time.Duration) {
	if at := time.Now().Add(after); f.at.IsZero() || at.Before(f.at) {
		f.at = at
		f.timer.Reset(after)
	}
}
