package dmarc

import (
	"fmt"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
)

// Limits of a From field. What is longer fails closed.
const (
	maxFrom    = 64 << 10 // bytes of the field
	maxAuthors = 100      // addresses in it
)

// Author is the author domain of a header: the one domain in its From field, in A-labels and lower case (RFC 9989
// section 5.3.1). An error means that there is not exactly one, and says why: no From field or several, addresses of several
// domains, no address, or a field that different readers may read differently. Several addresses of one domain are fine.
//
// Read leniently is only what cannot hide a domain: words without an at sign between commas, dots and at signs in the name
// before an address in angle brackets, if they spell the same domain. Comments and white space inside a local part or domain,
// source routes and address literals are not accepted.
func Author(fields []message.Field) (string, error) {
	var from []message.Field
	for _, f := range fields {
		if f.Is("From") {
			from = append(from, f)
		}
	}
	switch {
	case len(from) == 0:
		return "", fmt.Errorf("the message has no From field")
	case len(from) > 1:
		return "", fmt.Errorf("the message has %d From fields", len(from))
	case len(from[0].Raw) > maxFrom:
		return "", fmt.Errorf("the From field is longer than %d bytes", maxFrom)
	}
	domains, err := authorDomains(from[0].Value())
	switch {
	case err != nil:
		return "", fmt.Errorf("the From field cannot be read: %w", err)
	case len(domains) == 0:
		return "", fmt.Errorf("the From field has no address")
	case len(domains) > 1:
		return "", fmt.Errorf("the From field has addresses of %d domains", len(domains))
	}
	return domains[0], nil
}

// authorDomains are the different domains of an address list (RFC 5322 section 3.4, RFC 6854 for groups).
func authorDomains(list string) ([]string, error) {
	if i := strings.IndexFunc(list, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }); i >= 0 {
		return nil, fmt.Errorf("control byte %q", list[i])
	}
	p := &fromParser{in: list, seen: map[string]bool{}}
	for !p.done() {
		if err := p.entry(); err != nil {
			return nil, err
		}
	}
	if p.group {
		return nil, fmt.Errorf("a group does not end")
	}
	return p.domains, nil
}

// fromParser reads an address list from left to right.
type fromParser struct {
	in      string
	at      int
	group   bool // inside of a group
	count   int
	seen    map[string]bool
	domains []string
}

func (p *fromParser) done() bool { return p.at >= len(p.in) }

// entry reads up to and including the next comma, colon or semicolon, or a whole address in angle brackets with what ends it.
func (p *fromParser) entry() error {
	text, end, err := p.until("<>,:;")
	if err != nil {
		return err
	}
	switch end {
	case '<':
		return p.angle(text)
	case '>':
		return fmt.Errorf("closing bracket without an opening one")
	case ':':
		if p.group || strings.ContainsRune(bare(text), '@') {
			return fmt.Errorf("colon in %q", clip(text))
		}
		p.group = true
		return nil
	}
	if err := p.ends(end); err != nil {
		return err
	}
	if !strings.ContainsRune(bare(text), '@') {
		return nil // words, which name no domain
	}
	return p.address(text)
}

// ends is for what closes an address: a comma, the end of the field, or the semicolon of a group.
func (p *fromParser) ends(c byte) error {
	if c != ';' {
		return nil
	}
	if !p.group {
		return fmt.Errorf("semicolon outside of a group")
	}
	p.group = false
	return nil
}

// angle reads an address in angle brackets and what ends it. name is what stood before it.
func (p *fromParser) angle(name string) error {
	text, end, err := p.until("<>")
	if err != nil {
		return err
	}
	if end != '>' {
		return fmt.Errorf("angle bracket without an end")
	}
	if err := p.address(text); err != nil {
		return err
	}
	if strings.ContainsRune(bare(name), '@') {
		// Some readers take this for the address. It must not be another one.
		domain, err := addressDomain(name)
		if err != nil || !p.seen[domain] || len(p.domains) > 1 {
			return fmt.Errorf("address before the brackets: %q", clip(name))
		}
	}
	after, end, err := p.until("<>,:;")
	if err != nil {
		return err
	}
	if bare(after) != "" || end == '<' || end == '>' || end == ':' {
		return fmt.Errorf("text after the brackets: %q", clip(after))
	}
	return p.ends(end)
}

func (p *fromParser) address(text string) error {
	if p.count++; p.count > maxAuthors {
		return fmt.Errorf("more than %d addresses", maxAuthors)
	}
	domain, err := addressDomain(text)
	if err != nil {
		return err
	}
	if !p.seen[domain] {
		p.seen[domain] = true
		p.domains = append(p.domains, domain)
	}
	return nil
}

// until reads up to the first of the bytes in stop that stands in no quoted string and no comment, and takes that too. end
// is 0 when the field ends first.
func (p *fromParser) until(stop string) (text string, end byte, err error) {
	from, depth, quoted := p.at, 0, false
	for ; p.at < len(p.in); p.at++ {
		switch c := p.in[p.at]; {
		case c == '\\' && (quoted || depth > 0):
			p.at++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth == 0:
			return "", 0, fmt.Errorf("closing parenthesis without an opening one")
		case c == ')':
			depth--
		case depth == 0 && strings.IndexByte(stop, c) >= 0:
			p.at++
			return p.in[from : p.at-1], c, nil
		}
	}
	p.at = len(p.in)
	if quoted || depth > 0 {
		return "", 0, fmt.Errorf("quoted string or comment without an end")
	}
	return p.in[from:], 0, nil
}

// addressDomain is the domain of one address. White space and comments may stand round its local part and its domain, but not
// inside of them.
func addressDomain(text string) (string, error) {
	local, domain, err := splitAddress(trimComments(text))
	if err != nil {
		return "", err
	}
	if !isLocal(local) || strings.ContainsAny(domain, " \t()\"\\<>[],;:@=?") {
		return "", fmt.Errorf("not an address: %q", clip(text))
	}
	ascii, err := asciiDomain(domain)
	if err != nil {
		return "", fmt.Errorf("not a domain: %q", clip(domain))
	}
	return ascii, nil
}

// splitAddress cuts at the at sign outside of quotes and comments. There must be one.
func splitAddress(s string) (local, domain string, err error) {
	at, quoted := -1, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			i += max(commentEnd(s[i:]), 1) - 1
		case c == '@' && at >= 0:
			return "", "", fmt.Errorf("not an address: %q", clip(s))
		case c == '@':
			at = i
		}
	}
	if at < 0 {
		return "", "", fmt.Errorf("no address in %q", clip(s))
	}
	return trimComments(s[:at]), trimComments(s[at+1:]), nil
}

// isLocal accepts a local part, also one with dots where they should not be or with several quoted strings.
func isLocal(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c <= ' ', strings.IndexByte("()\\<>[],;:@", c) >= 0:
			return false
		}
	}
	return s != ""
}

// trimComments takes white space and comments off both ends of a text with balanced parentheses.
func trimComments(s string) string {
	for {
		s = strings.Trim(s, " \t")
		n := commentEnd(s)
		if n == 0 {
			break
		}
		s = s[n:]
	}
	// From the right a comment is found only by reading from the left: quotes and backslashes change what a parenthesis is.
	end := len(s)
	for i, quoted := 0, false; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
			end = len(s)
		case c == '"':
			quoted = !quoted
			end = len(s)
		case quoted:
		case c == '(':
			end = min(end, i)
			i += max(commentEnd(s[i:]), 1) - 1
		case c != ' ' && c != '\t':
			end = len(s)
		}
	}
	return strings.TrimRight(s[:end], " \t")
}

// commentEnd is the length of the comment that s begins with, or 0.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case depth == 0:
			return 0
		case c == '\\':
			i++
		case c == ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// bare is a text without its comments, quoted strings and white space.
func bare(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '(':
			i += max(commentEnd(s[i:]), 1) - 1
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			b.WriteByte('"')
		case ' ', '\t':
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// asciiDomain is a domain in A-labels and lower case, without a final dot. An address literal is none.
func asciiDomain(s string) (string, error) {
	name, err := envelope.ParseDomain(s)
	if err != nil {
		return "", err
	}
	a, err := envelope.Address{Domain: name}.ASCII()
	return a.Domain, err
}
