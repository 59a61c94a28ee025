package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxName is what a name may be long, in text without the final dot.
const maxName = 253

// A piece of a macro-string (RFC 7208 section 7.1): text, or a macro with its transformers.
type piece struct {
	text       string
	macro      bool // also %%, %_ and %-, whose text is known
	letter     byte // lower case; 0 where there is text
	keep       int  // how many parts from the right; 0: all
	reverse    bool
	urlEscape  bool // the letter was upper case
	delimiters string
}

// macros is a macro-string that was found to be well formed.
type macros []piece

// Where a macro-string stands decides what it may hold.
type place int

const (
	inDomain   place = iota // a domain-spec
	inModifier              // the value of an unknown modifier: all letters
	inText                  // an explanation: all letters, and spaces
)

const (
	letters     = "slodiphv"
	textLetters = "crt"
	delimiters  = ".-+,/_="
)

// parseMacros reads a macro-string.
func parseMacros(s string, where place) (macros, error) {
	var m macros
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			i = len(s)
		}
		if i > 0 {
			if err := literal(s[:i], where); err != nil {
				return nil, err
			}
			m, s = append(m, piece{text: s[:i]}), s[i:]
			continue
		}
		p, n, err := parseMacro(s, where)
		if err != nil {
			return nil, err
		}
		m, s = append(m, p), s[n:]
	}
	return m, nil
}

func literal(s string, where place) error {
	for i := range len(s) {
		if s[i] < 0x21 && !(s[i] == ' ' && where == inText) || s[i] > 0x7E {
			return fmt.Errorf("byte 0x%02X is not allowed", s[i])
		}
	}
	return nil
}

// parseMacro reads what begins with a percent sign and returns its length.
func parseMacro(s string, where place) (piece, int, error) {
	if len(s) < 2 {
		return piece{}, 0, errors.New(`"%" at the end; a percent sign is written "%%"`)
	}
	switch s[1] {
	case '%':
		return piece{macro: true, text: "%"}, 2, nil
	case '_':
		return piece{macro: true, text: " "}, 2, nil
	case '-':
		return piece{macro: true, text: "%20"}, 2, nil
	case '{':
	default:
		return piece{}, 0, fmt.Errorf(`%q is not a macro; a percent sign is written "%%%%"`, s[:2])
	}
	end := strings.IndexByte(s, '}')
	if end < 0 {
		return piece{}, 0, errors.New(`a macro has no "}"`)
	}
	p, err := parseBody(s[2:end], where)
	if err != nil {
		return piece{}, 0, fmt.Errorf("macro %q: %w", s[:end+1], err)
	}
	return p, end + 1, nil
}

// parseBody reads what stands between the braces: a letter, digits, "r", delimiters.
func parseBody(s string, where place) (piece, error) {
	if s == "" {
		return piece{}, errors.New("it is empty")
	}
	p := piece{macro: true, letter: s[0] | 0x20, urlEscape: s[0] < 'a'}
	switch {
	case strings.IndexByte(letters, p.letter) >= 0 && isLetter(s[0]):
	case strings.IndexByte(textLetters, p.letter) < 0 || !isLetter(s[0]):
		return piece{}, errors.New("there is no such letter")
	case where == inDomain:
		return piece{}, errors.New("the letter is only for explanations")
	}
	s = s[1:]
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits > 0 {
		p.keep = atMost(s[:digits], maxName)
		if p.keep == 0 {
			return piece{}, errors.New("no part is to be kept")
		}
	}
	s = s[digits:]
	if s != "" && s[0]|0x20 == 'r' {
		p.reverse, s = true, s[1:]
	}
	if strings.Trim(s, delimiters) != "" {
		return piece{}, fmt.Errorf("%q is not a delimiter", s)
	}
	p.delimiters = s
	return p, nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// atMost reads digits; what is larger than limit, or too large for a number, is limit.
func atMost(digits string, limit int) int {
	n, err := strconv.Atoi(digits)
	if err != nil || n > limit {
		return limit
	}
	return n
}

// parseDomainSpec reads a domain-spec (RFC 7208 section 7.1): it ends in a macro or in a label that can stand at the
// top of the DNS.
func parseDomainSpec(s string) (macros, error) {
	if s == "" {
		return nil, errors.New("the domain is empty")
	}
	m, err := parseMacros(s, inDomain)
	if err != nil {
		return nil, err
	}
	last := m[len(m)-1]
	if last.macro {
		return m, nil
	}
	text := strings.TrimSuffix(last.text, ".")
	dot := strings.LastIndexByte(text, '.')
	if dot < 0 {
		return nil, fmt.Errorf("%q does not end in a dot and a top-level domain, or a macro", s)
	}
	if !topLabel(text[dot+1:]) {
		return nil, fmt.Errorf("%q cannot be a top-level domain", text[dot+1:])
	}
	return m, nil
}

// topLabel is toplabel of RFC 7208 section 7.1: letters, digits and hyphens, none at the ends, not digits alone.
func topLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !(c >= '0' && c <= '9') && c != '-' {
			return false
		}
	}
	return strings.Trim(s, "0123456789") != ""
}

// foreign tells whether m asks for a sender's local part that is not ASCII: RFC 8616 section 4 lets no term match that
// does. Texts can carry it only escaped.
func (e *evaluation) foreign(m macros) bool {
	if isASCII(e.local) {
		return false
	}
	return slices.ContainsFunc(m, func(p piece) bool { return p.letter == 's' || p.letter == 'l' })
}

// expand makes text of m (RFC 7208 section 7.3); domain is the one whose record holds it. It stops when there are more
// than limit bytes.
func (e *evaluation) expand(m macros, domain string, s *Step, limit int) string {
	var b strings.Builder
	for _, p := range m {
		if b.WriteString(e.expandPiece(p, domain, s)); b.Len() > limit {
			break
		}
	}
	return b.String()
}

func (e *evaluation) expandPiece(p piece, domain string, s *Step) string {
	if p.letter == 0 {
		return p.text
	}
	v := p.transform(e.value(p.letter, domain, s))
	if p.urlEscape {
		v = urlEscape(v)
	}
	return v
}

// target is the domain a term is about: the one its domain-spec expands to, shortened from the left to what fits into
// a question, or that of the record. What is left of twice that length would be cut off in any case.
func (e *evaluation) target(m macros, domain string, s *Step) string {
	if m == nil {
		return domain
	}
	var parts []string
	length := 0
	for i := len(m) - 1; i >= 0 && length <= 2*maxName; i-- {
		part := e.expandPiece(m[i], domain, s)
		parts = append(parts, part)
		length += len(part)
	}
	slices.Reverse(parts)
	name := strings.TrimSuffix(strings.Join(parts, ""), ".")
	for len(name) > maxName {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			break
		}
		name = name[i+1:]
	}
	return name
}

// value is what a letter stands for, RFC 7208 section 7.2.
func (e *evaluation) value(letter byte, domain string, s *Step) string {
	switch letter {
	case 's':
		return e.local + "@" + e.domain
	case 'l':
		return e.local
	case 'o':
		return e.domain
	case 'd':
		return domain
	case 'i':
		return dotted(e.ip)
	case 'p':
		return e.validatedName(domain, s)
	case 'v':
		if e.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return e.helo
	case 'c':
		return e.ip.String()
	case 'r':
		return e.receiver
	case 't':
		return strconv.FormatInt(e.now.Unix(), 10)
	}
	return ""
}

// dotted is an address as a domain has it: dotted quad, or the nibbles of IPv6.
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	nibbles := make([]string, 0, 32)
	for _, b := range ip.As16() {
		nibbles = append(nibbles, string("0123456789ABCDEF"[b>>4]), string("0123456789ABCDEF"[b&15]))
	}
	return strings.Join(nibbles, ".")
}

// transform splits, turns and cuts a value; the parts are joined by dots whatever divided them.
func (p piece) transform(v string) string {
	if p.keep == 0 && !p.reverse && p.delimiters == "" {
		return v
	}
	marks := p.delimiters
	if marks == "" {
		marks = "."
	}
	var parts []string
	for i := strings.IndexAny(v, marks); i >= 0; i = strings.IndexAny(v, marks) {
		parts, v = append(parts, v[:i]), v[i+1:]
	}
	parts = append(parts, v)
	if p.reverse {
		slices.Reverse(parts)
	}
	if p.keep > 0 && p.keep < len(parts) {
		parts = parts[len(parts)-p.keep:]
	}
	return strings.Join(parts, ".")
}

// urlEscape leaves the unreserved characters of RFC 3986 section 2.3.
func urlEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isLetter(c) || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
