package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
)

// destination is what a user may write for where mail is to go.
type destination struct {
	name   string     // A-labels, no final dot; empty if addr is set
	addr   netip.Addr // an address instead of a name
	port   int        // 0 if not given
	direct bool       // to this host, whatever MX records say
}

// parse reads "example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[::1]",
// "host:587", "[host]" and "[host]:587".
func parse(s string) (destination, error) {
	if strings.HasPrefix(s, "[") {
		return parseBracketed(s)
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return destination{}, fmt.Errorf("an address is written %s", envelope.Literal(ip))
	}
	if !strings.Contains(s, ":") {
		name, err := ascii(s)
		return destination{name: name}, err
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return destination{}, errors.New("more than one colon")
	}
	return parseHost(host, ":"+port)
}

func parseBracketed(s string) (destination, error) {
	body, rest, closed := strings.Cut(s[1:], "]")
	if !closed {
		return destination{}, errors.New("bracket does not end")
	}
	if ip, ok := (envelope.Address{Domain: "[" + body + "]"}).IP(); ok {
		body = ip.String()
	}
	return parseHost(body, rest)
}

// parseHost takes a name or an IP address and what stands behind it: nothing,
// or a colon and a port.
func parseHost(host, rest string) (destination, error) {
	d := destination{direct: true}
	if rest != "" {
		digits, ok := strings.CutPrefix(rest, ":")
		port, err := strconv.ParseUint(digits, 10, 16)
		if !ok || err != nil || port == 0 {
			return destination{}, fmt.Errorf("bad port %q", rest)
		}
		d.port = int(port)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		d.addr = ip
		return d, nil
	}
	name, err := ascii(host)
	d.name = name
	return d, err
}

// ascii checks a domain name and turns it into A-labels (RFC 5890).
func ascii(s string) (string, error) {
	name, err := envelope.ParseDomain(s)
	if err != nil {
		return "", err
	}
	a, err := envelope.Address{Domain: name}.ASCII()
	return a.Domain, err
}
