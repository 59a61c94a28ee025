package serve

import (
	"fmt"
	"testing"
	"time"
)

func TestAllow(t *testing.T) {
	start := time.Now()
	var next time.Time
	for i, c := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true}, {0, true}, {0, true}, {0, false},
		{19 * time.Second, false}, {20 * time.Second, true}, {20 * time.Second, false}, {39 * time.Second, false},
		{10 * time.Minute, true}, {10 * time.Minute, true}, {10 * time.Minute, true}, {10 * time.Minute, false},
	} {
		n, ok := allow(next, start.Add(c.after), 3)
		if ok != c.want {
			t.Errorf("connection %d after %v: got %v, want %v", i, c.after, ok, c.want)
		}
		if ok {
			next = n
		}
	}
}

// The table of rates is bounded, and forgets first who is needed least.
func TestRateTable(t *testing.T) {
	now := time.Now()
	var table rateTable
	put := func(key [16]byte, next time.Time) {
		offset, _ := table.find(key, now)
		if offset == len(table) {
			table = append(table, make([]byte, rateRecord)...)
		}
		copy(table[offset:], rateBytes(key, next))
	}
	key := func(i int) [16]byte { return keysOf(fmt.Sprintf("10.0.%d.%d", i/256, i%256)).address.Addr().As16() }
	for i := range 2 * shareRates {
		put(key(i), now.Add(time.Duration(i+1)*time.Millisecond))
	}
	if len(table) != shareRates*rateRecord {
		t.Errorf("the table has %d bytes", len(table))
	}
	last := 2*shareRates - 1
	if _, next := table.find(key(last), now); next.Sub(now).Round(time.Millisecond) != time.Duration(last+1)*time.Millisecond {
		t.Errorf("the last one is forgotten: %v", next)
	}
	now = now.Add(time.Hour)
	put(key(5), now.Add(time.Second))
	put(key(6), now.Add(time.Second))
	if len(table) != shareRates*rateRecord {
		t.Errorf("old records are not used again: %d bytes", len(table))
	}
}

// In one process the gate counts by itself.
func TestGatePeers(t *testing.T) {
	g := gate{perAddress: 2, perNetwork: 3, rate: 4}
	now := time.Now()
	var leave []func()
	for i, c := range []struct{ ip, why string }{
		{"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.1", tooManyAddress},
		{"192.0.2.2", ""}, {"192.0.2.3", tooManyNetwork}, {"192.0.3.3", ""},
		{"192.0.2.1", tooManyAddress}, {"192.0.2.1", tooFastAddress},
		{"2001:db8::1", ""}, {"2001:db8::2", ""}, {"2001:db8::3", tooManyAddress}, {"2001:db8:0:1::", ""}, {"2001:db8:0:2::", tooManyNetwork},
		{"", ""}, {"", ""}, {"", ""},
	} {
		l, why := g.enterPeer(c.ip, now)
		if why != c.why {
			t.Errorf("%d: %q: got %q, want %q", i, c.ip, why, c.why)
		}
		if why == "" {
			leave = append(leave, l)
		}
	}
	for _, l := range leave {
		l()
	}
	if len(g.per) != 0 {
		t.Errorf("the gate keeps %v", g.per)
	}
	for i := range 3 * memoryRates {
		g.inTime(keysOf(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)), now)
	}
	if len(g.next) > memoryRates {
		t.Errorf("the gate remembers %d addresses", len(g.next))
	}
}
