package envelope

import (
	"strings"

	"pennypost/internal/status"
)

// Listed is an address as it stands in a header field.
type Listed struct {
	Address Address // a bare name has no Domain, whatever the name
	End     int     // offset in the field's value behind the local part: where "@domain" of a bare name belongs
}

// ParseList reads the addresses of a header field's value (RFC 5322 section 3.4), groups, comments, bare names and the obsolete
// forms of section 4.4 too. The null address is left out. What cannot be read is left out, and the error, 553 5.1.3, is about
// the first such piece.
func ParseList(value string) ([]Listed, error) {
	l := listing{tokens: tokens(value), value: value}
	for len(l.tokens) > 0 {
		l.item(l.next())
	}
	return l.found, l.err
}

// Complete is the value with "@domain" behind each bare name in it. Everything else stays as it is.
func Complete(value, domain string) string {
	found, _ := ParseList(value)
	var b strings.Builder
	at := 0
	for _, f := range found {
		if f.Address.Domain == "" {
			b.WriteString(value[at:f.End] + "@" + domain)
			at = f.End
		}
	}
	return b.String() + value[at:]
}

// listing collects what ParseList finds.
type listing struct {
	value  string
	tokens []token
	found  []Listed
	err    error
}

// token is a lexical piece: a special character, or a word (atom with its dots, quoted string, domain literal).
type token struct {
	kind       byte // '<' '>' ',' ':' ';' '@', or 'a' for a word, or '?' for what has no end
	start, end int
}

// next cuts off the tokens of one mailbox: up to a comma or semicolon outside angle brackets, without the name of a group.
func (l *listing) next() []token {
	angle, from := false, 0
	for i, t := range l.tokens {
		switch {
		case t.kind == '<':
			angle = true
		case t.kind == '>':
			angle = false
		case t.kind == ':' && !angle:
			from = i + 1
		case (t.kind == ',' || t.kind == ';') && !angle:
			item := l.tokens[from:i]
			l.tokens = l.tokens[i+1:]
			return item
		}
	}
	item := l.tokens[from:]
	l.tokens = nil
	return item
}

// item reads one mailbox: the part in angle brackets, or all of it. A phrase without brackets is no address.
func (l *listing) item(all []token) {
	spec := all
	for i, t := range all {
		if t.kind == '<' {
			spec = all[i+1:]
			if spec = route(spec); len(spec) == 0 || spec[len(spec)-1].kind != '>' {
				l.bad(all, "angle bracket does not end")
				return
			}
			spec = spec[:len(spec)-1]
			break
		}
	}
	if len(spec) == 0 {
		return
	}
	at := 0
	for at < len(spec) && spec[at].kind != '@' {
		at++
	}
	local, domain := l.text(spec[:at]), ""
	if at < len(spec) {
		domain = l.text(spec[at+1:])
	}
	if at == 0 || !l.dotted(spec[:at]) {
		l.bad(all, "local part is not one word")
		return
	}
	l.add(all, local, domain, at < len(spec), spec[at-1].end)
}

// dotted says that the words are joined by dots, with blanks between (obs-local-part).
func (l *listing) dotted(words []token) bool {
	for i := 1; i < len(words); i++ {
		before, after := l.value[words[i-1].start:words[i-1].end], l.value[words[i].start:words[i].end]
		if !strings.HasSuffix(before, ".") && !strings.HasPrefix(after, ".") {
			return false
		}
	}
	return true
}

func (l *listing) add(all []token, local, domain string, full bool, end int) {
	if !full {
		domain = "bare.invalid" // only to have the local part checked
	}
	a, err := Parse("<" + local + "@" + domain + ">")
	if err != nil {
		l.bad(all, status.Of(err).Text)
		return
	}
	if !full {
		a.Domain = ""
	}
	l.found = append(l.found, Listed{a, end})
}

// route skips "@a,@b:" (RFC 5322 section 4.4).
func route(spec []token) []token {
	if len(spec) == 0 || spec[0].kind != '@' {
		return spec
	}
	for i, t := range spec {
		if t.kind == ':' {
			return spec[i+1:]
		}
	}
	return spec
}

// text joins words without what is between them.
func (l *listing) text(words []token) string {
	var b strings.Builder
	for _, t := range words {
		b.WriteString(l.value[t.start:t.end])
	}
	return b.String()
}

func (l *listing) bad(all []token, why string) {
	if l.err == nil {
		l.err = badAddress(l.value[all[0].start:all[len(all)-1].end], why)
	}
}

// tokens splits a value; comments and blanks are dropped.
func tokens(s string) []token {
	var out []token
	for i := 0; i < len(s); {
		t := token{start: i, kind: 'a'}
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
			continue
		case c == '(':
			i = comment(s, i)
			continue
		case strings.IndexByte("<>,:;@", c) >= 0:
			t.kind = c
			i++
		case c == '"':
			i = closing(s, i, '"')
		case c == '[':
			i = closing(s, i, ']')
		case c == '\\' || c == ')' || c == ']':
			t.kind = '?'
			i++
		default:
			for i < len(s) && strings.IndexByte(" \t\r\n()<>,:;@\"[]\\", s[i]) < 0 {
				i++
			}
		}
		t.end = i
		out = append(out, t)
	}
	return out
}

// comment is where the comment that begins at i ends; comments nest, a backslash quotes.
func comment(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// closing is where the quoted string or literal that begins at i ends.
func closing(s string, i int, end byte) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case end:
			return i + 1
		}
	}
	return len(s)
}
