package smtp

import (
	"net/netip"
	"strings"
	"time"
)

// receivedDate is date-time of RFC 5322 section 3.3.
const receivedDate = "Mon, 2 Jan 2006 15:04:05 -0700"

// receivedField is the trace field of RFC 5321 section 4.4 in LF form: who the client says it is, who it is, who took the
// message how under which id. The recipient is named only when there is one, so that nobody learns of the others.
func receivedField(name string, f *Facts, secure bool, now time.Time) string {
	env := f.Envelope
	var b strings.Builder
	b.WriteString("Received: from " + traceName(env.Conn.Helo) + " (" + tcpInfo(env.Conn.RemoteHost, env.Conn.RemoteIP) + ")\n")
	b.WriteString("\tby " + traceName(name) + " with " + protocolName(f, secure) + " id " + f.ID)
	if env.Conn.TLS != "" {
		b.WriteString("\n\t(" + traceWords(env.Conn.TLS) + ")")
	}
	if len(env.Recipients) == 1 {
		if to := env.Recipients[0].Path(); len(to) < 900 {
			b.WriteString("\n\tfor " + to)
		}
	}
	b.WriteString("; " + now.Format(receivedDate) + "\n")
	return b.String()
}

// protocolName is the word after "with": RFC 3848, and RFC 6531 section 4.3 for SMTPUTF8.
func protocolName(f *Facts, secure bool) string {
	name := "SMTP"
	switch {
	case f.Service == LMTP && f.Envelope.SMTPUTF8:
		name = "UTF8LMTP"
	case f.Service == LMTP:
		name = "LMTP"
	case f.Envelope.SMTPUTF8:
		name = "UTF8SMTP"
	case f.Extended:
		name = "ESMTP"
	default:
		return name
	}
	if secure {
		name += "S"
	}
	if f.Envelope.Conn.AuthUser != "" {
		name += "A"
	}
	return name
}

// tcpInfo is TCP-info of RFC 5321 section 4.4: the peer's verified name and its address as a literal.
func tcpInfo(host, ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return "local"
	}
	literal := "[" + a.Unmap().WithZone("").String() + "]"
	if a.Unmap().Is6() {
		literal = "[IPv6:" + literal[1:]
	}
	if host == "" {
		return literal
	}
	return traceName(host) + " " + literal
}

// traceName makes a name harmless in a header field: what cannot be in a domain or an address literal becomes "?".
func traceName(s string) string {
	if s == "" {
		return "unknown"
	}
	return strings.Map(func(r rune) rune {
		if isTraceByte(r) {
			return r
		}
		return '?'
	}, s[:min(len(s), 255)])
}

// traceWords does it for the text of a comment.
func traceWords(s string) string {
	return strings.Map(func(r rune) rune {
		if isTraceByte(r) || r == ' ' {
			return r
		}
		return '?'
	}, s)
}

func isTraceByte(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:[]", r)
}
