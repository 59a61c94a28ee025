package main

import (
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	accepting "pennypost/internal/serve"
	"pennypost/internal/smtp"
)

// networkOptions are the flags about the way to the server.
type networkOptions struct {
	socks, bind, header string
	xclient             []string
	four, six           bool

	xclientIf, xclientEarly bool
}

func (n *networkOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&n.socks, "socks", "", "connect through the SOCKS5 proxy at `HOST:PORT`")
	f.StringVar(&n.bind, "bind", "", "connect from `ADDRESS[:PORT]`")
	f.BoolVarP(&n.four, "ipv4", "4", false, "connect to IPv4 addresses only")
	f.BoolVarP(&n.six, "ipv6", "6", false, "connect to IPv6 addresses only")
	f.StringVar(&n.header, "proxy-protocol", "", "begin with a PROXY header, `'v1|v2 SRC[,DST]|local'`, as a proxy before the server does")
}

// pretendFlags are those about XCLIENT, for sessions that are not said by hand.
func (n *networkOptions) pretendFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&n.xclient, "xclient", nil, "pretend by XCLIENT `'NAME=VALUE ...'` to be somebody else; may be repeated")
	f.BoolVar(&n.xclientIf, "xclient-optional", false, "send without XCLIENT where it is not offered")
	f.BoolVar(&n.xclientEarly, "xclient-before-tls", false, "say XCLIENT before STARTTLS")
}

// apply checks the flags and makes of them what a connection needs.
func (n *networkOptions) apply(o *smtp.Options) error {
	if n.socks != "" {
		if _, _, err := net.SplitHostPort(n.socks); err != nil {
			return cli.Usagef("--socks: %w", err)
		}
	}
	o.Network.Socks, o.XClient = n.socks, n.xclient
	o.XClientIf, o.XClientEarly = n.xclientIf, n.xclientEarly
	switch {
	case (n.xclientIf || n.xclientEarly) && len(n.xclient) == 0:
		return cli.Usagef("--xclient-optional and --xclient-before-tls need --xclient")
	case n.four && n.six:
		return cli.Usagef("-4 and -6 do not go together")
	case n.four:
		o.Network.Family = 4
	case n.six:
		o.Network.Family = 6
	}
	if n.bind != "" {
		var err error
		if o.Network.Bind, err = end(n.bind); err != nil {
			return cli.Usagef("--bind: %w", err)
		}
	}
	if n.header == "" {
		return nil
	}
	h, err := parseProxy(n.header)
	if err != nil {
		return cli.Usagef("--proxy-protocol %q: %w", n.header, err)
	}
	o.Header = h.format
	return nil
}

// end reads ADDRESS or ADDRESS:PORT, an IPv6 address with a port in brackets.
func end(text string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap, nil
	}
	ip, err := netip.ParseAddr(text)
	return netip.AddrPortFrom(ip, 0), err
}

// proxyHeader is what --proxy-protocol names; the destination may be left open.
type proxyHeader struct {
	version             byte
	local               bool // about no client: the proxy itself connects
	source, destination netip.AddrPort
}

// parseProxy reads "v1 SRC", "v2 SRC,DST" or "v1 local".
func parseProxy(text string) (h proxyHeader, err error) {
	version, ends, _ := strings.Cut(text, " ")
	h.local = ends == "local"
	var ok bool
	if h.version, ok = map[string]byte{"v1": 1, "v2": 2}[version]; !ok {
		return h, errors.New("want v1 or v2, then the source")
	}
	if h.local {
		return h, nil
	}
	source, destination, given := strings.Cut(ends, ",")
	if h.source, err = end(source); err != nil || !given {
		return h, err
	}
	if h.destination, err = end(destination); err == nil && h.destination.Addr().Is4() != h.source.Addr().Is4() {
		err = errors.New("source and destination are of two families")
	}
	return h, err
}

// format makes the header for a connection. The destination that was not given is its other end, or none where that has
// another family.
func (h proxyHeader) format(c net.Conn) ([]byte, error) {
	if h.local {
		return accepting.LocalHeader(h.version)
	}
	if h.destination.IsValid() {
		return accepting.ProxyHeader(h.version, h.source, h.destination)
	}
	to, err := netip.ParseAddrPort(c.RemoteAddr().String())
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	if four := h.source.Addr().Is4(); err != nil || to.Addr().Is4() != four {
		to = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		if four {
			to = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
		}
	}
	return accepting.ProxyHeader(h.version, h.source, to)
}
