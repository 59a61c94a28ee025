package relay

import (
	"sync"
	"time"
)

// Who works on something for longer than patience is not counted among those that work at a time: hosts that say nothing
// could hold all of them, until their time is over. So at most slowFactor times as many are at work as were asked for.
const (
	patience   = 3 * time.Second
	slowFactor = 25
)

// slow counts those that are slow.
type slow struct {
	mu       sync.Mutex
	n, most  int
	patience time.Duration
}

func newSlow(parallel int, patience time.Duration) *slow {
	return &slow{most: parallel * (slowFactor - 1), patience: patience}
}

// watch calls instead, once, when whoever begins now is slow, as soon as not too many others are. What it returns is called
// at the end of the work, and tells whether it was so.
func (s *slow) watch(instead func()) (end func() (slow bool)) {
	var timer *time.Timer
	var is, over bool
	s.mu.Lock()
	defer s.mu.Unlock()
	timer = time.AfterFunc(s.patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case over:
		case s.n >= s.most:
			timer.Reset(s.patience)
		default:
			is = true
			s.n++
			instead()
		}
	})
	return func() bool {
		timer.Stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		if is {
			s.n--
		}
		return is
	}
}
