package serve

import (
	"net/netip"
	"sync"
	"time"
)

const (
	tooMany        = "too many connections"
	tooManyAddress = "too many connections from this address"
	tooManyNetwork = "too many connections from this network"
	tooFastAddress = "too many connections from this address in a minute"
)

// memoryRates is how many addresses are remembered for their rate.
const memoryRates = 10000

// gate counts sessions, all and by address and network. Zero limits mean none.
type gate struct {
	max, perAddress, perNetwork, rate int

	counts *Counts
	shared *share          // where processes count together; nil: this process counts alone
	failed func(err error) // told when that does not work; this process then counts alone

	mu    sync.Mutex
	total int
	per   map[netip.Prefix]int
	next  map[netip.Prefix]time.Time // when the next connection of an address is due
}

// enter counts a session unless there are too many.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.max > 0 && g.total >= g.max {
		return false
	}
	g.total++
	g.counts.enter(1)
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	g.counts.enter(-1)
}

// enterPeer counts a session of a peer, or says why it may not be. leave is to be called at its end.
func (g *gate) enterPeer(ip string, now time.Time) (leave func(), why string) {
	k := keysOf(ip)
	if !k.address.IsValid() {
		return func() {}, ""
	}
	if g.rate > 0 && !g.inTime(k, now) {
		return nil, tooFastAddress
	}
	if g.perAddress <= 0 && g.perNetwork <= 0 {
		return func() {}, ""
	}
	if g.shared != nil {
		leave, why, err := g.shared.enter(k, g.perAddress, g.perNetwork)
		if err == nil {
			return leave, why
		}
		g.failed(err)
	}
	return g.enterHere(k)
}

// enterHere counts in this process.
func (g *gate) enterHere(k peerKeys) (leave func(), why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.perAddress > 0 && g.per[k.address] >= g.perAddress:
		return nil, tooManyAddress
	case g.perNetwork > 0 && g.per[k.network] >= g.perNetwork:
		return nil, tooManyNetwork
	}
	if g.per == nil {
		g.per = make(map[netip.Prefix]int)
	}
	g.per[k.address]++
	g.per[k.network]++
	return func() { g.leavePeer(k) }, ""
}

func (g *gate) leavePeer(k peerKeys) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range []netip.Prefix{k.address, k.network} {
		if g.per[p]--; g.per[p] == 0 {
			delete(g.per, p)
		}
	}
}

// inTime says whether a connection comes no faster than the rate lets it.
func (g *gate) inTime(k peerKeys, now time.Time) bool {
	if g.shared != nil {
		ok, err := g.shared.rate(k, g.rate, now)
		if err == nil {
			return ok
		}
		g.failed(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil || len(g.next) >= memoryRates {
		g.forget(now)
	}
	next, ok := allow(g.next[k.address], now, g.rate)
	if ok {
		g.next[k.address] = next
	}
	return ok
}

// forget keeps only the addresses whose past still counts; if these are too many, none.
func (g *gate) forget(now time.Time) {
	kept := make(map[netip.Prefix]time.Time)
	for p, next := range g.next {
		if next.After(now) {
			kept[p] = next
		}
	}
	if len(kept) >= memoryRates {
		kept = make(map[netip.Prefix]time.Time)
	}
	g.next = kept
}

// addressKey is what counts as one address: an IPv4 address, or an IPv6 network of 64 bits, since that is what one host
// gets and can choose from.
func addressKey(ip string) netip.Prefix {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// fromBytes is an address as As16 writes it.
func fromBytes(b [16]byte) netip.Addr { return netip.AddrFrom16(b).Unmap() }
