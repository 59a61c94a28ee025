package imap

import "strings"

// A contentType is a media type or a disposition with parameters, as written: Dovecot, Cyrus and their clients
// show case and encodings of RFC 2231 as they are in the message.
type contentType struct {
	typ, subtype string
	params       []param
}

type param struct{ name, value string }

var (
	typePlain   = contentType{"text", "plain", []param{{"charset", "us-ascii"}}}
	typeBinary  = contentType{"application", "octet-stream", nil}
	typeMessage = contentType{"message", "rfc822", nil}
)

func (t contentType) is(typ, subtype string) bool {
	return strings.EqualFold(t.typ, typ) && strings.EqualFold(t.subtype, subtype)
}

func (t contentType) isMultipart() bool { return strings.EqualFold(t.typ, "multipart") }
func (t contentType) isText() bool      { return strings.EqualFold(t.typ, "text") }
func (t contentType) isMessage() bool   { return t.is("message", "rfc822") || t.is("message", "global") }

func (t contentType) param(name string) string {
	for _, p := range t.params {
		if strings.EqualFold(p.name, name) {
			return p.value
		}
	}
	return ""
}

// maxParams bounds the parameters of one field.
const maxParams = 100

// parseContentType reads a Content-Type field (RFC 2045 section 5.1) and makes the best of one that is wrong:
// fallback when there is no type at all.
func parseContentType(v string, fallback contentType) contentType {
	c := &cursor{s: v}
	t := contentType{typ: c.token()}
	if t.typ == "" || !c.accept('/') {
		return fallback
	}
	if t.subtype = c.token(); t.subtype == "" {
		return fallback
	}
	t.params = c.parameters()
	if t.isText() && t.param("charset") == "" {
		t.params = append(t.params, param{"charset", "us-ascii"})
	}
	return t
}

// parseDisposition reads a Content-Disposition field (RFC 2183); ok is false when there is nothing in it.
func parseDisposition(v string) (d contentType, ok bool) {
	c := &cursor{s: v}
	d.typ = c.token()
	if d.typ == "" {
		return d, false
	}
	d.params = c.parameters()
	return d, true
}

// parseLanguages reads a Content-Language field (RFC 3282).
func parseLanguages(v string) []string {
	c := &cursor{s: v}
	var tags []string
	for len(tags) < maxParams {
		tag := c.token()
		if tag == "" {
			break
		}
		tags = append(tags, tag)
		if !c.accept(',') {
			break
		}
	}
	return tags
}

// A cursor walks along a structured header field.
type cursor struct {
	s string
	i int
}

func (c *cursor) end() bool { return c.i >= len(c.s) }

// space passes over blanks and comments.
func (c *cursor) space() {
	for !c.end() {
		switch c.s[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		case '(':
			c.comment()
		default:
			return
		}
	}
}

// comment passes over a comment, nested ones too, and returns what is in it.
func (c *cursor) comment() string {
	depth, start := 0, c.i+1
	for ; !c.end(); c.i++ {
		switch c.s[c.i] {
		case '\\':
			c.i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				c.i++
				return c.s[start : c.i-1]
			}
		}
	}
	c.i = len(c.s)
	return c.s[min(start, len(c.s)):]
}

func (c *cursor) accept(b byte) bool {
	c.space()
	if !c.end() && c.s[c.i] == b {
		c.i++
		return true
	}
	return false
}

func (c *cursor) until(stop string) string {
	start := c.i
	for !c.end() && strings.IndexByte(stop, c.s[c.i]) < 0 {
		c.i++
	}
	return c.s[start:c.i]
}

func (c *cursor) token() string {
	c.space()
	return c.until(" \t\r\n()<>@,;:\\\"/[]?=")
}

// quoted reads a quoted string; one that has no end goes to the end.
func (c *cursor) quoted() string {
	var b strings.Builder
	for c.i++; !c.end(); c.i++ {
		switch ch := c.s[c.i]; ch {
		case '"':
			c.i++
			return b.String()
		case '\\':
			if c.i++; !c.end() {
				b.WriteByte(c.s[c.i])
			}
		default:
			b.WriteByte(ch)
		}
	}
	c.i = len(c.s)
	return b.String()
}

// parameters reads "; name=value" to the end, and passes over what is not of that form.
func (c *cursor) parameters() []param {
	var list []param
	for !c.end() && len(list) < maxParams {
		c.until(";(")
		if c.space(); c.end() {
			break
		}
		if !c.accept(';') {
			continue
		}
		name := c.token()
		if name == "" || !c.accept('=') {
			continue
		}
		c.space()
		var value string
		if !c.end() && c.s[c.i] == '"' {
			value = c.quoted()
		} else { // a value that should have been quoted is taken whole
			value = strings.TrimRight(c.until(";"), " \t\r\n")
		}
		list = append(list, param{name, value})
	}
	return list
}
