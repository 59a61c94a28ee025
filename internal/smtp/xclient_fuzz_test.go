package smtp

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/envelope"
)

// FuzzXClient: whatever a trusted peer says, the facts are clean: addresses and ports that parse, names without blanks or
// control characters, and a session that goes on in one of its states.
func FuzzXClient(f *testing.F) {
	for _, seed := range []string{"ADDR=192.0.2.1", "ADDR=IPV6:2001:db8::1 PORT=25 NAME=c.example PROTO=ESMTP HELO=h", "NAME=[UNAVAILABLE]",
		"LOGIN=a+20b DESTADDR=::1 DESTPORT=0", "PORT=65536", "ADDR=::", "HELO=+0A", "PROTO=SMTP HELO=x", "ADDR=fe80::1%eth0", "NAME"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		e, _ := newTestEngine()
		s := newSession(t.Context(), e.withDefaults(), &playedConn{}, peer)
		s.state = greeted
		r := s.xclient(arg)
		c := s.facts.Envelope.Conn
		if r.Code >= 400 && c != (envelope.Connection{Proto: "TCP", RemoteIP: peer.RemoteIP, RemotePort: peer.RemotePort, RemoteHost: peer.RemoteHost}) &&
			c.RemoteIP != "192.0.2.66" {
			t.Errorf("%q: refused with %v, and the facts are %+v", arg, r, c)
		}
		for _, ip := range []string{c.RemoteIP, c.LocalIP} {
			if a, err := netip.ParseAddr(ip); ip != "" && (err != nil || a.Is4In6() || a.Zone() != "" || a.IsUnspecified()) {
				t.Errorf("%q: address %q", arg, ip)
			}
		}
		for _, port := range []string{c.RemotePort, c.LocalPort} {
			if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || strconv.FormatUint(n, 10) != port) {
				t.Errorf("%q: port %q", arg, port)
			}
		}
		if words := c.RemoteHost + c.Helo + c.AuthUser; strings.ContainsFunc(words, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q: %q", arg, words)
		}
		if c.RemoteIP == "" || s.state != connected && s.state != greeted {
			t.Errorf("%q: peer %q, state %d", arg, c.RemoteIP, s.state)
		}
	})
}
