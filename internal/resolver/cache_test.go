package resolver

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// counting answers from a zone and counts the questions.
type counting struct {
	zoneSource
	asked int
}

func (c *counting) exchange(ctx context.Context, name string, qtype uint16) (reply, error) {
	c.asked++
	return c.zoneSource.exchange(ctx, name, qtype)
}

func TestCacheKeepsForTTL(t *testing.T) {
	for _, tt := range []struct {
		name, domain string
		keep         time.Duration // 0: is not kept
	}{
		{"found", "example.org", 600 * time.Second},
		{"shortest of a chain", "short.example.org", 7 * time.Second},
		{"denied, by SOA minimum", "none.example.org", 60 * time.Second},
		{"no data, by SOA minimum", "web.example.org", 60 * time.Second},
		{"denied without SOA", "none.example.com", 0},
		{"server failure", "bad.example.org", 0},
		{"loop", "loop1.example.org", 0},
		{"longer than a day", "long.example.org", 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := mustParse(t, testZone+"short.example.org. 7 CNAME example.org.\nlong.example.org. 864000 MX 1 a.\n")
				c := &counting{zoneSource: zoneSource{z, "test"}}
				r := &Resolver{source: c, cache: newCache()}
				ask := func() (Answer[MX], error) { return r.MX(t.Context(), tt.domain) }
				first, firstErr := ask()
				if tt.keep == 0 {
					if ask(); c.asked != 2 {
						t.Errorf("asked %d times, want 2", c.asked)
					}
					return
				}
				if first.TTL != tt.keep {
					t.Errorf("TTL %v, want %v", first.TTL, tt.keep)
				}
				time.Sleep(tt.keep - time.Second)
				again, err := ask()
				if c.asked != 1 || again.TTL != time.Second {
					t.Errorf("within the time to live: asked %d times, TTL %v", c.asked, again.TTL)
				}
				if fmt.Sprint(again.Records, again.Chain, err) != fmt.Sprint(first.Records, first.Chain, firstErr) {
					t.Errorf("remembered %v %v, was %v %v", again, err, first, firstErr)
				}
				time.Sleep(time.Second)
				if ask(); c.asked != 2 {
					t.Errorf("after the time to live: asked %d times, want 2", c.asked)
				}
			})
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	for i := range 3 * maxCached {
		c.put(cacheKey{fmt.Sprint(i), dns.TypeA}, search{ttl: time.Hour})
		if len(c.entries) > maxCached {
			t.Fatalf("%d entries", len(c.entries))
		}
	}
	if _, ok := c.get(cacheKey{fmt.Sprint(3*maxCached - 1), dns.TypeA}); !ok {
		t.Error("the newest entry is gone")
	}
}

func TestCacheDropsExpiredFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache()
		for i := range maxCached {
			ttl := time.Hour
			if i >= maxCached/2 {
				ttl = time.Second
			}
			c.put(cacheKey{fmt.Sprint(i), dns.TypeA}, search{ttl: ttl})
		}
		time.Sleep(2 * time.Second)
		c.put(cacheKey{"new", dns.TypeA}, search{ttl: time.Hour})
		if len(c.entries) != maxCached/2+1 {
			t.Errorf("%d entries, want all fresh ones and the new one", len(c.entries))
		}
	})
}
