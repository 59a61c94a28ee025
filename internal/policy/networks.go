package policy

import "net/netip"

// Networks are peers that somebody named.
type Networks []netip.Prefix

// Contain says whether an address, as Connection has it, is in one of the networks; no address is in none.
func (n Networks) Contain(ip string) bool {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, p := range n {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
