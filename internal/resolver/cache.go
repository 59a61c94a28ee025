package resolver

import (
	"sync"
	"time"
)

// maxCached is how many answers are remembered. A command asks a few, a server
// at most some per connection; the bound only keeps memory finite.
const maxCached = 4096

type cacheKey struct {
	name  string
	qtype uint16
}

type cached struct {
	search  search
	expires time.Time
}

// cache remembers answers and denials for their time to live. Trouble is not
// remembered. A nil cache remembers nothing.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]cached
}

func newCache() *cache { return &cache{entries: make(map[cacheKey]cached)} }

// get returns a remembered search, its time to live lowered by its age.
func (c *cache) get(k cacheKey) (search, bool) {
	if c == nil {
		return search{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if !ok {
		return search{}, false
	}
	left := time.Until(e.expires)
	if left <= 0 {
		delete(c.entries, k)
		return search{}, false
	}
	e.search.ttl = left
	return e.search, true
}

func (c *cache) put(k cacheKey, s search) {
	if c == nil || s.ttl <= 0 || s.kind == Loop {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[k]; !ok && len(c.entries) >= maxCached {
		c.makeRoom()
	}
	c.entries[k] = cached{s, time.Now().Add(s.ttl)}
}

// makeRoom drops what has expired, or, if all is fresh, an eighth at random
// (the order in which a map is walked): cheap, and no name can pin another.
func (c *cache) makeRoom() {
	now := time.Now()
	for k, e := range c.entries {
		if !e.expires.After(now) {
			delete(c.entries, k)
		}
	}
	for k := range c.entries {
		if len(c.entries) <= maxCached*7/8 {
			return
		}
		delete(c.entries, k)
	}
}
