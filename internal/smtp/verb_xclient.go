package smtp

import (
	"net/netip"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
)

// xclientNames are the attributes of XCLIENT as the EHLO reply lists them.
const xclientNames = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// mayXClient says whether the peer, who is at the other end whatever it has said since, may speak for others.
func mayXClient(s *session) bool { return s.srv.XClient != nil && s.srv.XClient(s.peerIP) }

// client is what XCLIENT says of a client.
type client struct {
	conn     envelope.Connection
	extended bool
}

// xclient is Postfix's XCLIENT: a proxy says for whom it speaks. The session stands as after the banner, with nothing known
// but what was said, and is decided anew; with HELO the client has greeted already. An address must be known: without one a
// session counts as local.
func (s *session) xclient(arg string) Reply {
	if arg == "" {
		return syntax("XCLIENT attribute=value")
	}
	c := client{conn: s.facts.Envelope.Conn, extended: true}
	c.conn.RemoteHost, c.conn.Helo, c.conn.AuthUser = "", "", ""
	for word := range strings.FieldsSeq(arg) {
		name, value, ok := strings.Cut(word, "=")
		if set := xclientSet[strings.ToUpper(name)]; !ok || set == nil {
			return Reply{501, "5.5.4", []string{"Error: bad attribute of XCLIENT"}}
		} else if value, ok = envelope.FromXtext(value); !ok || !set(&c, value) {
			return Reply{501, "5.5.4", []string{"Error: bad value of " + strings.ToUpper(name)}}
		}
	}
	s.reset()
	s.facts.Envelope.Conn, s.facts.Mechanism = c.conn, ""
	s.facts.Extended, s.state = c.conn.Helo != "" && c.extended, connected
	if c.conn.Helo != "" {
		s.state = greeted
	}
	if err := s.srv.Handler.Connect(s.ctx, &s.facts); err != nil {
		s.logRefusal("connection refused", err)
		s.closing = true
		return errorReply(err)
	}
	return s.banner()
}

// unavailable are the values that say that there is none.
func unavailable(v string) bool { return v == "[UNAVAILABLE]" || v == "[TEMPUNAVAIL]" }

// xclientSet stores the value of each attribute; false means that it is malformed.
var xclientSet = map[string]func(c *client, value string) bool{
	"NAME": func(c *client, v string) bool { return textOrNone(&c.conn.RemoteHost, v) },
	"HELO": func(c *client, v string) bool { return textOrNone(&c.conn.Helo, v) && len(v) <= 255 },
	"LOGIN": func(c *client, v string) bool {
		return textOrNone(&c.conn.AuthUser, v)
	},
	"ADDR": func(c *client, v string) bool {
		ip, ok := xclientAddress(v)
		c.conn.RemoteIP, c.conn.RemotePort, c.conn.Proto = ip.String(), "", "TCP"
		if ip.Is6() {
			c.conn.Proto = "TCP6"
		}
		return ok
	},
	"DESTADDR": func(c *client, v string) bool {
		ip, ok := xclientAddress(v)
		if c.conn.LocalIP = ip.String(); unavailable(v) {
			c.conn.LocalIP, ok = "", true
		}
		return ok
	},
	"PORT":     func(c *client, v string) bool { return portOrNone(&c.conn.RemotePort, v) },
	"DESTPORT": func(c *client, v string) bool { return portOrNone(&c.conn.LocalPort, v) },
	"PROTO": func(c *client, v string) bool {
		c.extended = strings.EqualFold(v, "ESMTP") || unavailable(v)
		return c.extended || strings.EqualFold(v, "SMTP")
	},
}

func textOrNone(field *string, v string) bool {
	if *field = v; unavailable(v) {
		*field = ""
	}
	return v != "" && !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' })
}

func portOrNone(field *string, v string) bool {
	n, err := strconv.ParseUint(v, 10, 16)
	if *field = strconv.FormatUint(n, 10); unavailable(v) {
		*field, err = "", nil
	}
	return err == nil
}

// xclientAddress reads "192.0.2.1" or "IPV6:2001:db8::1".
func xclientAddress(v string) (netip.Addr, bool) {
	const v6 = "IPV6:"
	if len(v) > len(v6) && strings.EqualFold(v[:len(v6)], v6) {
		v = v[len(v6):]
	}
	ip, err := netip.ParseAddr(v)
	ip = ip.Unmap().WithZone("")
	return ip, err == nil && !ip.IsUnspecified()
}
