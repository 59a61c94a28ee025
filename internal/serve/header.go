package serve

import (
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// LocalHeader is what a proxy writes when it connects for itself: UNKNOWN in version 1, LOCAL in version 2.
func LocalHeader(version byte) ([]byte, error) {
	h := proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	return h.Format()
}

// ProxyHeader is what a proxy writes before the session of its client (the PROXY protocol, version 1 or 2, over TCP). Both
// addresses are of one family.
func ProxyHeader(version byte, source, destination netip.AddrPort) ([]byte, error) {
	h := proxyproto.Header{
		Version: version, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: net.TCPAddrFromAddrPort(source), DestinationAddr: net.TCPAddrFromAddrPort(destination),
	}
	if source.Addr().Is6() {
		h.TransportProtocol = proxyproto.TCPv6
	}
	return h.Format()
}
