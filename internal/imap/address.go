package imap

import "strings"

// An address is one entry of an ENVELOPE's address lists (RFC 3501 section 7.4.2). Strings are as in the
// message, only unquoted. A group begins with one that has no host and ends with one that has nothing.
type address struct {
	name, route, mailbox, host             string
	hasName, hasRoute, hasMailbox, hasHost bool
}

// A word is a piece of an address: an atom or the content of a quoted string.
type word struct {
	text   string
	quoted bool
	spaced bool // white space stands before it
}

// parseAddresses reads an address list (RFC 5322 section 3.4) and takes whatever is there for as much of
// an address as it is: one that is broken does not hide the others.
func parseAddresses(v string) []address {
	p := &addressParser{c: cursor{s: v}}
	for !p.c.end() {
		p.step()
	}
	p.emit()
	p.endGroup()
	return p.list
}

type addressParser struct {
	c        cursor
	list     []address
	words    []word
	angle    string
	hasAngle bool
	comment  string
	group    bool
	spaced   bool
}

// addressStops end an atom in an address list.
const addressStops = " \t\r\n\"(<,;:["

func (p *addressParser) step() {
	c := &p.c
	spaced := p.spaced
	p.spaced = false
	switch c.s[c.i] {
	case ' ', '\t', '\r', '\n':
		c.i++
		p.spaced = true
	case '"':
		p.words = append(p.words, word{c.quoted(), true, spaced})
	case '(':
		p.comment = strings.TrimSpace(c.comment())
		p.spaced = true
	case '<':
		c.i++
		p.angle, p.hasAngle = c.angle(), true
	case ',':
		c.i++
		p.emit()
	case ';':
		c.i++
		p.emit()
		p.endGroup()
	case ':':
		c.i++
		p.beginGroup()
	case '[':
		literal := c.until("]")
		if !c.end() {
			c.i++
			literal += "]"
		}
		p.words = append(p.words, word{literal, false, spaced})
	default:
		p.words = append(p.words, word{c.until(addressStops), false, spaced})
	}
}

func (p *addressParser) beginGroup() {
	if p.group || p.hasAngle {
		return
	}
	p.group = true
	p.list = append(p.list, address{mailbox: phrase(p.words), hasMailbox: true})
	p.words, p.comment = nil, ""
}

func (p *addressParser) endGroup() {
	if p.group {
		p.group = false
		p.list = append(p.list, address{})
	}
}

// emit makes an address of what was collected, if anything was.
func (p *addressParser) emit() {
	words, angle, hasAngle, comment := p.words, p.angle, p.hasAngle, p.comment
	p.words, p.angle, p.hasAngle, p.comment, p.spaced = nil, "", false, "", false
	if len(words) == 0 && !hasAngle {
		return
	}
	var a address
	if hasAngle {
		a.name = phrase(words)
		angle = a.cutRoute(strings.TrimSpace(angle))
		words = split(angle)
	} else {
		a.name = comment
	}
	a.hasName = a.name != ""
	a.spec(words)
	p.list = append(p.list, a)
}

// cutRoute takes the source route off an address: "@a,@b:user@host".
func (a *address) cutRoute(s string) string {
	if !strings.HasPrefix(s, "@") {
		return s
	}
	route, rest, ok := strings.Cut(s, ":")
	if !ok {
		return s
	}
	a.route, a.hasRoute = route, true
	return rest
}

// spec sets mailbox and host, which are parted by the last "@" outside quotes.
func (a *address) spec(words []word) {
	a.hasMailbox, a.hasHost = true, true
	for i := len(words) - 1; i >= 0; i-- {
		at := strings.LastIndexByte(words[i].text, '@')
		if words[i].quoted || at < 0 {
			continue
		}
		local := append(words[:i:i], word{words[i].text[:at], false, false})
		host := append([]word{{words[i].text[at+1:], false, false}}, words[i+1:]...)
		a.mailbox, a.host = join(local), join(host)
		return
	}
	a.mailbox = phrase(words)
}

func join(words []word) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(w.text)
	}
	return b.String()
}

func phrase(words []word) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 && w.spaced {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}

// split takes the inside of "<...>" apart.
func split(s string) []word {
	c := &cursor{s: s}
	var words []word
	for !c.end() {
		switch c.s[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		case '"':
			words = append(words, word{c.quoted(), true, false})
		case '(':
			c.comment()
		default:
			words = append(words, word{c.until(" \t\r\n\"("), false, false})
		}
	}
	return words
}

// angle reads up to the ">" that is not in a quoted string and passes it.
func (c *cursor) angle() string {
	start := c.i
	for !c.end() {
		switch c.s[c.i] {
		case '"':
			c.quoted()
		case '>':
			c.i++
			return c.s[start : c.i-1]
		default:
			c.i++
		}
	}
	return c.s[start:]
}
