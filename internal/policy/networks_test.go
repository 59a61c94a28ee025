package policy

import (
	"net/netip"
	"testing"
)

func TestNetworks(t *testing.T) {
	n := Networks{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for ip, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "2001:db8::1": true, "2001:db9::1": false,
		"": false, "unknown": false, "10.1.2.3:25": false,
	} {
		if got := n.Contain(ip); got != want {
			t.Errorf("%q: got %v, want %v", ip, got, want)
		}
	}
	if (Networks)(nil).Contain("10.1.2.3") {
		t.Error("no networks contain an address")
	}
}
