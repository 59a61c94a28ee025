package smtp

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// TLSMode is what is demanded of a connection.
type TLSMode uint8

const (
	TLSOffered  TLSMode = iota // STARTTLS when it is offered, any certificate; in clear otherwise (RFC 7435)
	TLSNone                    // never
	TLSRequired                // STARTTLS or nothing
	TLSImplicit                // from the first byte (RFC 8314)
)

// Endpoint is a server as a URL names it: where to connect, which protocol to speak, what to demand.
type Endpoint struct {
	Network string // "tcp" or "unix", as net.Dial wants it
	Address string // host:port, or a path
	Host    string // the name or address in the URL, without brackets; the certificate must be for it. Empty for unix
	TLS     TLSMode
	LMTP    bool
}

type scheme struct {
	port string // "" = a path
	tls  TLSMode
	lmtp bool
}

var schemes = map[string]scheme{
	"smtp":       {port: "25", tls: TLSOffered},
	"smtp+tls":   {port: "25", tls: TLSRequired},
	"smtp+notls": {port: "25", tls: TLSNone},
	"smtps":      {port: "465", tls: TLSImplicit},
	"lmtp":       {port: "24", tls: TLSOffered, lmtp: true},
	"smtp+unix":  {tls: TLSNone},
	"lmtp+unix":  {tls: TLSNone, lmtp: true},
}

// ParseURL reads a server's URL: smtp://HOST[:PORT], smtp+tls://, smtp+notls://, smtps://, lmtp://, smtp+unix:///PATH or
// lmtp+unix:///PATH. A user, a password, a query, and a path behind a host are refused, not ignored.
func ParseURL(s string) (Endpoint, error) {
	u, err := url.Parse(s)
	if err != nil {
		if ue, ok := err.(*url.Error); ok {
			err = ue.Err // without the URL, which is quoted below and might hold a password
		}
		return Endpoint{}, fmt.Errorf("server %q: %w", withoutUser(s), err)
	}
	k, ok := schemes[u.Scheme]
	switch {
	case !ok:
		return Endpoint{}, fmt.Errorf("server %q: want smtp:// smtp+tls:// smtp+notls:// smtps:// lmtp:// smtp+unix:/// or lmtp+unix:///", withoutUser(s))
	case u.User != nil:
		return Endpoint{}, fmt.Errorf("server %q: a user does not belong in the URL", withoutUser(s))
	case u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return Endpoint{}, fmt.Errorf("server %q: nothing may follow the address", s)
	}
	if k.port == "" {
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.ContainsRune(u.Path, 0) {
			return Endpoint{}, fmt.Errorf("server %q: want %s:///PATH", s, u.Scheme)
		}
		return Endpoint{Network: "unix", Address: u.Path, TLS: k.tls, LMTP: k.lmtp}, nil
	}
	host, port := u.Hostname(), u.Port()
	if host == "" || (u.Path != "" && u.Path != "/") {
		return Endpoint{}, fmt.Errorf("server %q: want %s://HOST[:PORT]", s, u.Scheme)
	}
	if port == "" {
		port = k.port
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Endpoint{}, fmt.Errorf("server %q: port %s, not 1 to 65535", s, port)
	}
	return Endpoint{Network: "tcp", Address: net.JoinHostPort(host, port), Host: host, TLS: k.tls, LMTP: k.lmtp}, nil
}

// withoutUser hides what may be a password, in a text that need not be a URL.
func withoutUser(s string) string {
	head, rest, ok := strings.Cut(s, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return s
	}
	return head + "://..." + rest[at:]
}
