package serve

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"pennypost/internal/envelope"
)

// ends is a connection that is nothing but its two addresses.
type ends struct {
	net.Conn
	local, remote net.Addr
}

func (e ends) LocalAddr() net.Addr  { return e.local }
func (e ends) RemoteAddr() net.Addr { return e.remote }

func tcp(s string) net.Addr {
	if s == "" {
		return stdioAddr{}
	}
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s))
}

func TestDescribe(t *testing.T) {
	const sock, here = "192.0.2.9:5000", "192.0.2.1:25"
	cases := []struct {
		name          string
		remote, local string
		environ       []string
		want          envelope.Connection
	}{
		{"socket", sock, here, nil,
			envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.9", RemotePort: "5000", LocalIP: "192.0.2.1", LocalPort: "25"}},
		{"IPv6", "[2001:db8::9]:5000", "[2001:DB8::1]:25", nil,
			envelope.Connection{Proto: "TCP6", RemoteIP: "2001:db8::9", RemotePort: "5000", LocalIP: "2001:db8::1", LocalPort: "25"}},
		{"IPv4 in IPv6 dress", "[::ffff:192.0.2.9]:5000", "[::ffff:192.0.2.1]:25", nil,
			envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.9", RemotePort: "5000", LocalIP: "192.0.2.1", LocalPort: "25"}},
		{"zone", "[fe80::9%lo]:5000", "[fe80::1%lo]:25", nil,
			envelope.Connection{Proto: "TCP6", RemoteIP: "fe80::9", RemotePort: "5000", LocalIP: "fe80::1", LocalPort: "25"}},
		{"pipe", "", "", nil, envelope.Connection{}},
		{"tcpserver", sock, here, []string{"PROTO=TCP", "TCPREMOTEIP=198.51.100.3", "TCPREMOTEPORT=77", "TCPREMOTEHOST=Mail.Example.Org.", "TCPLOCALIP=198.51.100.1", "TCPLOCALPORT=26"},
			envelope.Connection{Proto: "TCP", RemoteIP: "198.51.100.3", RemotePort: "77", RemoteHost: "mail.example.org", LocalIP: "198.51.100.1", LocalPort: "26"}},
		{"tcpserver on pipes", "", "", []string{"TCPREMOTEIP=::ffff:198.51.100.3", "TCPREMOTEPORT=077"},
			envelope.Connection{Proto: "TCP", RemoteIP: "198.51.100.3", RemotePort: "77"}},
		{"tcpserver before systemd", "", "", []string{"REMOTE_ADDR=203.0.113.5", "REMOTE_PORT=9", "TCPREMOTEIP=198.51.100.3"},
			envelope.Connection{Proto: "TCP", RemoteIP: "198.51.100.3"}},
		{"systemd on a pipe", "", "", []string{"REMOTE_ADDR=2001:db8::5", "REMOTE_PORT=9"},
			envelope.Connection{Proto: "TCP6", RemoteIP: "2001:db8::5", RemotePort: "9"}},
		{"socket before REMOTE_ADDR", sock, here, []string{"REMOTE_ADDR=203.0.113.5", "REMOTE_PORT=9"},
			envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.9", RemotePort: "5000", LocalIP: "192.0.2.1", LocalPort: "25"}},
		{"rubbish is as good as nothing", sock, here, []string{"TCPREMOTEIP=localhost", "TCPREMOTEPORT=1", "TCPREMOTEHOST=evil.example", "REMOTE_ADDR="},
			envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.9", RemotePort: "5000", LocalIP: "192.0.2.1", LocalPort: "25"}},
		{"name without address", "", "", []string{"TCPREMOTEHOST=evil.example"}, envelope.Connection{}},
		{"unspecified address", "", "", []string{"TCPREMOTEIP=0.0.0.0", "REMOTE_ADDR=::"}, envelope.Connection{}},
		{"bad name and port", "", "", []string{"TCPREMOTEIP=192.0.2.4", "TCPREMOTEPORT=70000", "TCPREMOTEHOST=a b\nX: y"},
			envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.4"}},
		{"TLS ended outside", "", "", []string{"PROTO=SSL", "TCPREMOTEIP=192.0.2.4", "SSL_PROTOCOL=TLSv1.3", "SSL_CIPHER=TLS_AES_128_GCM_SHA256"},
			envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.4", TLS: "TLSv1.3 TLS_AES_128_GCM_SHA256"}},
		{"no TLS without PROTO=SSL", "", "", []string{"PROTO=TCP", "TCPREMOTEIP=192.0.2.4", "SSL_PROTOCOL=TLSv1.3"},
			envelope.Connection{Proto: "TCP", RemoteIP: "192.0.2.4"}},
		{"what mailpipe sets is not the peer's", "", "", []string{"HELO=x", "AUTHUSER=root", "TLS=yes"}, envelope.Connection{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := describe(ends{local: tcp(c.local), remote: tcp(c.remote)}, c.environ); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestHostName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for in, want := range map[string]string{
		"Example.ORG": "example.org", "a.": "a", "_x.example": "", "x_y.example": "x_y.example", "3.example": "3.example",
		"": "", ".": "", "a..b": "", "-a.example": "", ".a": "", "192.0.2.1": "", "a/b": "", "a\x00": "", "é.example": "",
		long + ".example": long + ".example", long + "a.example": "", strings.Repeat("a.", 127) + "b": "", "xn--4ca.example": "xn--4ca.example",
	} {
		if got := hostName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// FuzzDescribe: whatever the environment says, what comes out is canonical and harmless in a header or a log line.
func FuzzDescribe(f *testing.F) {
	f.Add("192.0.2.1", "25", "mail.example.org", "2001:db8::1", "SSL", "TLSv1.3 \x1b[2J")
	f.Add("::ffff:1.2.3.4", "-1", "a\nb", "fe80::1%eth0", "TCP", "")
	f.Fuzz(func(t *testing.T, ip, port, host, local, proto, tls string) {
		for _, prefix := range []string{"TCPREMOTEIP=", "REMOTE_ADDR="} {
			got := describe(ends{local: stdioAddr{}, remote: stdioAddr{}}, []string{prefix + ip, "TCPREMOTEPORT=" + port,
				"REMOTE_PORT=" + port, "TCPREMOTEHOST=" + host, "TCPLOCALIP=" + local, "PROTO=" + proto, "SSL_PROTOCOL=" + tls})
			for _, s := range []string{got.RemoteIP, got.LocalIP} {
				if a, err := netip.ParseAddr(s); s != "" && (err != nil || a.String() != s || a.Is4In6() || a.Zone() != "" || a.IsUnspecified()) {
					t.Errorf("address %q is not canonical", s)
				}
			}
			if (got.RemoteIP == "") != (got.Proto == "") || got.RemoteIP == "" && got.RemoteHost+got.RemotePort+got.LocalIP != "" {
				t.Errorf("facts about a peer that is not known: %+v", got)
			}
			if got.RemoteHost != hostName(got.RemoteHost) || len(got.RemotePort) > 5 {
				t.Errorf("host %q or port %q is not canonical", got.RemoteHost, got.RemotePort)
			}
			if !utf8.ValidString(got.TLS) || strings.ContainsFunc(got.TLS, func(r rune) bool { return r < 0x20 || r == 0x7f }) || len(got.TLS) > 100 {
				t.Errorf("TLS %q is not one printable line", got.TLS)
			}
		}
	})
}
