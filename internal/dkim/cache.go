package dkim

import "sync"

// maxCached is how many keys a cache holds before it starts anew.
const maxCached = 1000

// KeyCache keeps keys that were parsed, found by the text of their record: what the DNS says is asked each time, so that nothing
// in it can be out of date. Several goroutines may use one. The zero value is ready.
type KeyCache struct {
	mu   sync.Mutex
	keys map[string]*Key
}

// parse is ParseKey, from the cache if the record was seen before. A nil cache keeps nothing. Nobody may change the key.
func (c *KeyCache) parse(record string) (*Key, error) {
	if c == nil {
		return ParseKey(record)
	}
	c.mu.Lock()
	k := c.keys[record]
	c.mu.Unlock()
	if k != nil {
		return k, nil
	}
	k, err := ParseKey(record)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxCached {
		c.keys = map[string]*Key{}
	}
	c.keys[record] = k
	return k, nil
}
