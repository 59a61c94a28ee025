package serve

import (
	"slices"
	"sync/atomic"
)

// Counts are what servers do with connections. The zero value is ready, several servers may share one, and all methods are safe for
// concurrent use; a nil *Counts counts nothing.
type Counts struct {
	open    atomic.Int64
	refused [4]atomic.Int64
}

// refusals are what a connection is refused for, in the order of Limits.
var refusals = [...]string{tooMany, tooManyAddress, tooManyNetwork, tooFastAddress}

// Limits are the names of the limits that connections are refused for, as the flags have them.
var Limits = [len(refusals)]string{"max-connections", "max-per-address", "max-per-network", "rate-per-address"}

// Open is how many connections are served now. Those that are being refused are none of them.
func (c *Counts) Open() int64 { return c.open.Load() }

// Refused is how many connections were refused for each of Limits.
func (c *Counts) Refused() (n [len(Limits)]int64) {
	for i := range n {
		n[i] = c.refused[i].Load()
	}
	return n
}

func (c *Counts) enter(n int64) {
	if c != nil {
		c.open.Add(n)
	}
}

func (c *Counts) refuse(why string) {
	if c != nil {
		c.refused[slices.Index(refusals[:], why)].Add(1)
	}
}
