package smtp

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/proxy"
)

// connectTimeout is for one address: a host that does not answer must not use up the time of the others.
const connectTimeout = 30 * time.Second

// Network says how connections leave this host. The zero value is the usual way.
type Network struct {
	Socks  string         // host:port of a SOCKS5 proxy (RFC 1928), or ""; it resolves names itself
	Bind   netip.AddrPort // our end; port 0 = any, no address = any
	Family int            // 4 or 6: only addresses of that family; 0 = both
}

// Dial connects to an address as net.Dial does, within 30 s. A Unix socket is not reached by the proxy.
func (n Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	d := &net.Dialer{}
	if network == "unix" {
		return d.DialContext(ctx, network, address)
	}
	if n.Bind.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(n.Bind)
	}
	switch n.Family {
	case 4:
		network = "tcp4"
	case 6:
		network = "tcp6"
	}
	if n.Socks == "" {
		return d.DialContext(ctx, network, address)
	}
	p, err := proxy.SOCKS5("tcp", n.Socks, nil, d)
	if err != nil {
		return nil, err
	}
	c, err := p.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return proxied{c, destination(address)}, nil
}

// Dialer is the Dialer of one address.
func (n Network) Dialer(network, address string) Dialer {
	return func(ctx context.Context) (net.Conn, error) { return n.Dial(ctx, network, address) }
}

// proxied is a connection whose other end is behind a proxy: what holds for the way to the proxy, such as that nobody can
// read it, does not hold for the whole.
type proxied struct {
	net.Conn
	to destination
}

func (p proxied) RemoteAddr() net.Addr { return p.to }

// LocalAddr is that of the way to the proxy, which says nothing to the server.
func (p proxied) LocalAddr() net.Addr { return destination("") }

type destination string

func (destination) Network() string  { return "socks" }
func (d destination) String() string { return string(d) }
