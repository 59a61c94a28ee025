package serve

import (
	"net/netip"
	"sync"
)

// gate counts sessions, all and by address. Zero limits mean none.
type gate struct {
	max, maxPer int

	mu    sync.Mutex
	total int
	per   map[netip.Prefix]int
}

// enter counts a session unless there are too many.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.max > 0 && g.total >= g.max {
		return false
	}
	g.total++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
}

// enterAddress counts a session of one address unless it has too many. The zero prefix, a peer without an address, is
// not limited.
func (g *gate) enterAddress(p netip.Prefix) bool {
	if !p.IsValid() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.maxPer > 0 && g.per[p] >= g.maxPer {
		return false
	}
	if g.per == nil {
		g.per = make(map[netip.Prefix]int)
	}
	g.per[p]++
	return true
}

func (g *gate) leaveAddress(p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.per[p]--; g.per[p] == 0 {
		delete(g.per, p)
	}
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
