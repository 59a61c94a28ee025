package serve

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// describe says who is at both ends of c. environ, if any, holds what the program said that accepted it.
func describe(c net.Conn, environ []string) envelope.Connection {
	env := lookup(environ)
	remoteIP, remotePort := socketAddress(c.RemoteAddr())
	localIP, localPort := socketAddress(c.LocalAddr())
	info := envelope.Connection{RemoteIP: remoteIP, RemotePort: remotePort, LocalIP: localIP, LocalPort: localPort}
	if ip, ok := address(env["TCPREMOTEIP"]); ok {
		info.RemoteIP, info.RemotePort = ip, port(env["TCPREMOTEPORT"])
		info.RemoteHost = hostName(env["TCPREMOTEHOST"])
		if ip, ok := address(env["TCPLOCALIP"]); ok {
			info.LocalIP, info.LocalPort = ip, port(env["TCPLOCALPORT"])
		}
	} else if ip, ok := address(env["REMOTE_ADDR"]); ok && info.RemoteIP == "" {
		info.RemoteIP, info.RemotePort = ip, port(env["REMOTE_PORT"])
	}
	if strings.HasPrefix(env["PROTO"], "SSL") {
		info.TLS = status.Escape(strings.TrimSpace(env["SSL_PROTOCOL"]+" "+env["SSL_CIPHER"]), 100)
	}
	info.Proto = proto(info.RemoteIP)
	return info
}

// lookup is an environment as a map; the last of equal names counts, as for the shell.
func lookup(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	return env
}

// socketAddress is the address and port of a TCP end, or empty.
func socketAddress(a net.Addr) (ip, portNumber string) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp == nil {
		return "", ""
	}
	ip, ok = address(tcp.IP.String())
	if !ok {
		return "", ""
	}
	return ip, strconv.Itoa(tcp.Port)
}

// address is s in canonical form: an IPv4 address without its IPv6 dress, no zone. False for anything that is not the
// address of a host.
func address(s string) (string, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "", false
	}
	a = a.Unmap().WithZone("")
	if a.IsUnspecified() {
		return "", false
	}
	return a.String(), true
}

// port is s as a number of 16 bits in canonical form, or empty.
func port(s string) string {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// hostName is s in lower case without a final dot if it looks like a name from the DNS, or empty: tcp-environ(5) warns that
// it "can contain arbitrary characters".
func hostName(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if len(s) > 253 || !nameEdge(s) {
		return ""
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return ""
		}
		for i := range len(label) {
			if c := label[i]; !nameEdge(label[i:]) && c != '-' && c != '_' {
				return ""
			}
		}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return ""
	}
	return s
}

// nameEdge reports whether s starts with a lower-case letter or a digit.
func nameEdge(s string) bool {
	return s != "" && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= '0' && s[0] <= '9')
}

func proto(remoteIP string) string {
	switch a, err := netip.ParseAddr(remoteIP); {
	case err != nil:
		return ""
	case a.Is4():
		return "TCP"
	}
	return "TCP6"
}

// trusted reports whether ip is in one of the networks.
func trusted(ip string, nets []netip.Prefix) bool {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	for _, p := range nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
