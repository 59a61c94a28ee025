package maildir

import (
	"os"
	"sync"
)

// syncs are the directories that this process is syncing just now. Deliveries that want the same directory synced at
// the same time share one call: one that comes while a sync is running waits for the next, which begins when that one
// ends and serves all who have come by then. So each sync begins after the changes that it is to make durable.
var syncs = syncGroup{dirs: make(map[dirID]*dirSync)}

type syncGroup struct {
	mu   sync.Mutex
	dirs map[dirID]*dirSync
}

// dirID is a directory of the system, whatever names lead to it.
type dirID struct{ dev, ino uint64 }

// dirSync is a directory with a sync that is running, and the round that waits for its end.
type dirSync struct {
	running *syncRound
	next    *syncRound // nil: nobody waits
}

// syncRound is one sync and those it serves. Who comes first makes the call.
type syncRound struct {
	done chan struct{} // closed at the end; err is final then
	err  error
}

// dir makes the names in a directory below root durable. The error of a shared sync is everybody's.
func (g *syncGroup) dir(o *ops, root *os.Root, name string) error {
	id, ok := identify(root, name)
	if !ok {
		return o.syncDir(root, name)
	}
	mine, turn, first := g.join(id)
	if !first {
		<-mine.done
		return mine.err
	}
	if turn != nil {
		<-turn
		g.start(id, mine)
	}
	defer g.end(id, mine)
	mine.err = o.syncDir(root, name)
	return mine.err
}

// join puts the caller into a round that has not begun. The first in it makes the call, when turn is closed; turn is nil when
// it may begin at once.
func (g *syncGroup) join(id dirID) (r *syncRound, turn chan struct{}, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.dirs[id]
	switch {
	case d == nil:
		r = &syncRound{done: make(chan struct{})}
		g.dirs[id] = &dirSync{running: r}
		return r, nil, true
	case d.next == nil:
		d.next = &syncRound{done: make(chan struct{})}
		return d.next, d.running.done, true
	}
	return d.next, nil, false
}

// start closes a round to those who come later.
func (g *syncGroup) start(id dirID, r *syncRound) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirs[id].running, g.dirs[id].next = r, nil
}

// end tells everybody in the round.
func (g *syncGroup) end(id dirID, r *syncRound) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dirs[id].next == nil {
		delete(g.dirs, id)
	}
	close(r.done)
}
