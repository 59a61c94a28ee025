package route

import (
	"cmp"
	"math/bits"
	"net"
	"net/netip"
	"slices"
)

// sortAddresses puts destinations in the order of RFC 6724 section 6, as far as a
// program without a look into the kernel can: rules 1, 2, 5, 6, 8, 9 and 10. Nil
// for source asks the kernel. IPv4 addresses are not compared by common prefix
// with ours (rule 9), which would undo what their owner does to spread the load.
func sortAddresses(list []netip.Addr, source func(netip.Addr) netip.Addr) []netip.Addr {
	if len(list) < 2 {
		return list
	}
	if source == nil {
		source = kernelSource
	}
	type candidate struct{ to, from netip.Addr }
	all := make([]candidate, len(list))
	for i, ip := range list {
		all[i] = candidate{ip, source(ip)}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return compareRoutes(a.to, a.from, b.to, b.from) })
	out := make([]netip.Addr, len(all))
	for i, c := range all {
		out[i] = c.to
	}
	return out
}

// kernelSource asks which address of ours would be used. Connecting a datagram
// socket sends nothing.
func kernelSource(to netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// compareRoutes is negative if a is the better destination.
func compareRoutes(a, fromA, b, fromB netip.Addr) int {
	switch {
	case !fromA.IsValid() && !fromB.IsValid():
		return 0
	case !fromA.IsValid():
		return 1
	case !fromB.IsValid():
		return -1
	}
	order := cmp.Or(
		first(scope(a) == scope(fromA), scope(b) == scope(fromB)),
		first(policyOf(a).label == policyOf(fromA).label, policyOf(b).label == policyOf(fromB).label),
		cmp.Compare(policyOf(b).precedence, policyOf(a).precedence),
		cmp.Compare(scope(a), scope(b)),
	)
	if order == 0 && a.Is6() && b.Is6() {
		order = cmp.Compare(commonPrefix(b, fromB), commonPrefix(a, fromA))
	}
	return order
}

// first orders what holds before what does not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// scope is that of RFC 4291 section 2.7, with IPv4 as in RFC 6724 section 3.2.
func scope(ip netip.Addr) int {
	switch {
	case ip.IsLoopback(), ip.IsLinkLocalUnicast():
		return 0x2
	case ip.Is6() && ip.IsMulticast():
		return int(ip.As16()[1] & 0xf)
	case ip.Is6() && ip.As16()[0] == 0xfe && ip.As16()[1]&0xc0 == 0xc0:
		return 0x5
	}
	return 0xe
}

type policyRow struct {
	prefix            netip.Prefix
	precedence, label int
}

// policyTable is the default one of RFC 6724 section 2.1, the longest prefix first.
var policyTable = []policyRow{
	{netip.MustParsePrefix("::1/128"), 50, 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 35, 4},
	{netip.MustParsePrefix("::/96"), 1, 3},
	{netip.MustParsePrefix("2001::/32"), 5, 5},
	{netip.MustParsePrefix("2002::/16"), 30, 2},
	{netip.MustParsePrefix("3ffe::/16"), 1, 12},
	{netip.MustParsePrefix("fec0::/10"), 1, 11},
	{netip.MustParsePrefix("fc00::/7"), 3, 13},
	{netip.MustParsePrefix("::/0"), 40, 1},
}

func policyOf(ip netip.Addr) policyRow {
	if ip.Is4() || ip.Is4In6() {
		return policyTable[1]
	}
	ip = ip.WithZone("")
	for _, row := range policyTable {
		if row.prefix.Contains(ip) {
			return row
		}
	}
	return policyTable[len(policyTable)-1]
}

// commonPrefix counts the bits two IPv6 addresses share, up to the 64 of the
// network.
func commonPrefix(a, b netip.Addr) int {
	if !b.Is6() {
		return 0
	}
	n := 0
	x, y := a.As16(), b.As16()
	for i := range 8 {
		same := bits.LeadingZeros8(x[i] ^ y[i])
		n += same
		if same < 8 {
			break
		}
	}
	return n
}
