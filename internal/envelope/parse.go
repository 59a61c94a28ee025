package envelope

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"pennypost/internal/status"
)

// Parse reads an address with or without angle brackets; "" and "<>" are the null path. A source route is dropped. The
// error is permanent, 553 5.1.3 (RFC 5321 section 4.1.2).
func Parse(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	bare := !strings.HasPrefix(s, "<")
	if bare {
		s = "<" + s + ">"
	}
	p := parser{in: s, pos: 1, bare: bare}
	a, rest, err := p.path()
	if err == nil && rest != "" {
		err = badAddress(s, "text after the closing bracket")
	}
	return a, err
}

// ParsePath reads what stands after "MAIL FROM:" or "RCPT TO:": a path in angle brackets, blanks before it tolerated,
// and returns the parameters behind it without the blank that separates them.
func ParsePath(s string) (a Address, rest string, err error) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, "<") {
		return Address{}, "", badAddress(s, "an address in angle brackets is needed")
	}
	p := parser{in: s, pos: 1}
	return p.path()
}

// parser walks the grammar of RFC 5321 section 4.1.2.
type parser struct {
	in    string
	pos   int
	route int  // length of a source route
	bare  bool // the brackets around it are ours
}

// bad is the error about what was given to us.
func (p *parser) bad(why string) *status.Error {
	if p.bare {
		return badAddress(p.in[1:len(p.in)-1], why)
	}
	return badAddress(p.in, why)
}

// path is ParsePath behind the opening bracket.
func (p *parser) path() (a Address, rest string, err error) {
	if a, err = p.mailbox(); err != nil {
		return Address{}, "", err
	}
	switch closed := p.eat('>'); {
	case p.bare && (!closed || p.pos < len(p.in)):
		return Address{}, "", p.bad("there is more behind the domain")
	case !closed:
		return Address{}, "", p.bad("no closing bracket where one is needed")
	case p.pos > MaxPath+p.route:
		return Address{}, "", p.bad("path is longer than 256 bytes")
	}
	rest = p.in[p.pos:]
	if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
		return Address{}, "", p.bad("no blank between path and parameters")
	}
	return a, strings.Trim(rest, " \t"), nil
}

func (p *parser) peek() byte {
	if p.pos < len(p.in) {
		return p.in[p.pos]
	}
	return 0
}

func (p *parser) eat(c byte) bool {
	if p.pos < len(p.in) && p.in[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) mailbox() (Address, error) {
	if p.peek() == '>' {
		return Address{}, nil
	}
	if err := p.sourceRoute(); err != nil {
		return Address{}, err
	}
	local, err := p.local()
	if err != nil {
		return Address{}, err
	}
	if !p.eat('@') {
		// RFC 5321 section 4.5.1: postmaster is the only address without a domain.
		if p.peek() != '>' && p.pos < len(p.in) {
			return Address{}, p.bad("a blank or another character that a local part has only in quotes")
		}
		if !strings.EqualFold(local, "postmaster") {
			return Address{}, p.bad("address has no domain")
		}
		return Address{Local: local}, nil
	}
	domain, err := p.domain()
	return Address{Local: local, Domain: domain}, err
}

// sourceRoute drops "@a,@b:" (RFC 5321 appendix C).
func (p *parser) sourceRoute() error {
	start := p.pos
	for p.eat('@') {
		if _, err := p.domain(); err != nil {
			return err
		}
		switch {
		case p.eat(','):
		case p.eat(':'):
			p.route = p.pos - start
			return nil
		default:
			return p.bad("source route does not end in a colon")
		}
	}
	if p.pos != start {
		return p.bad("source route does not end in a colon")
	}
	return nil
}

func (p *parser) local() (string, error) {
	var local string
	if p.peek() == '"' {
		s, err := p.quoted()
		if err != nil {
			return "", err
		}
		local = s
	} else {
		start := p.pos
		for p.pos < len(p.in) && (isAtext(p.in[p.pos]) || p.in[p.pos] == '.') {
			p.pos++
		}
		if local = p.in[start:p.pos]; !isDotString(local) {
			return "", p.bad("local part is not a dot-string or quoted string")
		}
	}
	switch {
	case len(local) > MaxLocal:
		return "", p.bad("local part is longer than 64 bytes")
	case !validText(local):
		return "", p.bad("local part holds control characters or is not UTF-8")
	}
	return local, nil
}

// quoted reads a Quoted-string; control characters are refused by the caller.
func (p *parser) quoted() (string, error) {
	var b strings.Builder
	for p.pos++; p.pos < len(p.in); p.pos++ {
		switch c := p.in[p.pos]; c {
		case '"':
			p.pos++
			return b.String(), nil
		case '\\':
			if p.pos++; p.pos == len(p.in) {
				return "", p.bad("quoted local part does not end")
			}
			b.WriteByte(p.in[p.pos])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.bad("quoted local part does not end")
}

func (p *parser) domain() (string, error) {
	start := p.pos
	if p.peek() == '[' {
		end := strings.IndexByte(p.in[start:], ']')
		if end < 0 {
			return "", p.bad("address literal does not end")
		}
		p.pos += end + 1
		return literal(p.in[start:p.pos])
	}
	for p.pos < len(p.in) && !strings.ContainsRune(">,:@ \t", rune(p.in[p.pos])) {
		p.pos++
	}
	return ParseDomain(p.in[start:p.pos])
}

// ParseDomain checks a domain name and returns it in lower case; a name in U-labels is mapped as IDNA wants it. One
// final dot is dropped.
func ParseDomain(s string) (string, error) {
	name := strings.TrimSuffix(s, ".")
	if isASCII(name) {
		name = strings.ToLower(name)
		return name, checkDomain(name)
	}
	ascii, err := domainProfile.ToASCII(name)
	if err != nil {
		return "", badAddress(s, "domain is not a valid internationalised name")
	}
	if err := checkDomain(ascii); err != nil {
		return "", err
	}
	return domainProfile.ToUnicode(ascii)
}

// checkDomain is Domain of RFC 5321 section 4.1.2 with the lengths of RFC 1035, for a name in A-labels. An underscore is
// let through: such names exist in DNS.
func checkDomain(name string) error {
	if name == "" || len(name) > MaxDomain {
		return badAddress(name, "domain is empty or longer than 255 bytes")
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return badAddress(name, "domain has a label that is empty, too long or has a hyphen at its end")
		}
		for i := range len(label) {
			if c := label[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return badAddress(name, "domain has a character that no host name has")
			}
		}
	}
	return nil
}

// literal checks an address literal and returns it in canonical form.
func literal(s string) (string, error) {
	ip, ok := literalIP(s)
	if !ok {
		return "", badAddress(s, "address literal is not [192.0.2.1] or [IPv6:2001:db8::1]")
	}
	return Literal(ip), nil
}

// Literal prints an IP address as an address literal (RFC 5321 section 4.1.3).
func Literal(ip netip.Addr) string {
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}

func literalIP(s string) (netip.Addr, bool) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return netip.Addr{}, false
	}
	body, six := s[1:len(s)-1], false
	if len(body) > 5 && strings.EqualFold(body[:5], "IPv6:") {
		body, six = body[5:], true
	}
	ip, err := netip.ParseAddr(body)
	if err != nil || ip.Zone() != "" || ip.Is4() == six {
		return netip.Addr{}, false
	}
	return ip, true
}

func validText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, unicode.IsControl)
}

func badAddress(s, why string) *status.Error {
	return status.Errorf(status.Data, "parse address %q: %s", status.Escape(s, 300), why).WithReply(553, "5.1.3")
}
