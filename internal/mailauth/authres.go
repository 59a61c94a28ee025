package mailauth

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on an Authentication-Results field.
const (
	maxField   = 64 << 10 // bytes of a field that is parsed
	maxResults = 200
	maxValue   = 256 // bytes of one value that is written
)

// AuthRes is the content of an Authentication-Results field (RFC 8601 section
// 2.2). Comments are not kept.
type AuthRes struct {
	ID      string // authserv-id
	Version int    // 1 when absent
	Results []MethodResult
}

// MethodResult is one resinfo: what one method came to.
type MethodResult struct {
	Method     string // lower case, as are Value and the names of properties
	Version    int    // 1 when absent
	Value      string
	Reason     string
	Properties []Property
}

// Property is ptype.name=value. The value of a pvalue whose local part is
// quoted keeps those quotes; other quoted strings are decoded.
type Property struct{ Type, Name, Value string }

// ParseAuthRes reads the body of a field, folded or not. It is lenient where
// real fields are: a semicolon may end the list, and pvalues may hold any
// printable bytes.
func ParseAuthRes(body string) (*AuthRes, error) {
	if len(body) > maxField {
		return nil, fmt.Errorf("longer than %d bytes", maxField)
	}
	s := &scanner{in: body}
	a := &AuthRes{Version: 1}
	var err error
	if a.ID, err = s.value(); err != nil {
		return nil, fmt.Errorf("authserv-id: %w", err)
	}
	if err := s.blank(); err != nil {
		return nil, err
	}
	if c := s.peek(); c >= '0' && c <= '9' {
		if a.Version, err = s.version(); err != nil {
			return nil, err
		}
	}
	for {
		if err := s.blank(); err != nil {
			return nil, err
		}
		if s.done() {
			return a, nil
		}
		if !s.take(';') {
			return nil, fmt.Errorf("want \";\" at %q", s.rest())
		}
		if err := s.blank(); err != nil {
			return nil, err
		}
		if s.done() {
			return a, nil
		}
		r, none, err := s.result()
		if err != nil {
			return nil, err
		}
		if !none {
			a.Results = append(a.Results, r)
		}
		if len(a.Results) > maxResults {
			return nil, fmt.Errorf("more than %d results", maxResults)
		}
	}
}

// scanner reads the tokens of RFC 8601 section 2.2.
type scanner struct {
	in string
	at int
}

func (s *scanner) done() bool { return s.at >= len(s.in) }

func (s *scanner) peek() byte {
	if s.done() {
		return 0
	}
	return s.in[s.at]
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.done() {
		return false
	}
	s.at++
	return true
}

// rest is a bit of what comes next, for errors.
func (s *scanner) rest() string {
	return s.in[s.at:min(len(s.in), s.at+20)]
}

// blank skips CFWS: white space and comments, which nest.
func (s *scanner) blank() error {
	depth := 0
	for ; !s.done(); s.at++ {
		switch c := s.in[s.at]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			s.at++
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return nil
		}
	}
	if depth > 0 {
		return fmt.Errorf("comment without an end")
	}
	s.at = len(s.in)
	return nil
}

// while reads the bytes that ok accepts.
func (s *scanner) while(ok func(byte) bool) string {
	from := s.at
	for !s.done() && ok(s.in[s.at]) {
		s.at++
	}
	return s.in[from:s.at]
}

func isToken(c byte) bool {
	return c > ' ' && c != 0x7F && !strings.ContainsRune(`()<>@,;:\"/[]?=`, rune(c))
}

func isKeyword(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// isPvalue accepts what stands unquoted in real fields, such as addresses,
// header.b with its slashes, and IPv6 addresses.
func isPvalue(c byte) bool {
	return c > ' ' && c != 0x7F && c != ';' && c != '(' && c != ')' && c != '"'
}

func (s *scanner) quoted() (string, error) {
	s.at++
	var b strings.Builder
	for ; !s.done(); s.at++ {
		switch c := s.in[s.at]; c {
		case '"':
			s.at++
			return b.String(), nil
		case '\\':
			if s.at++; s.done() {
				return "", fmt.Errorf("quoted string without an end")
			}
			b.WriteByte(s.in[s.at])
		case '\r', '\n': // folding inside the string; the white space stays
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("quoted string without an end")
}

// value reads [CFWS] (token / quoted-string).
func (s *scanner) value() (string, error) {
	if err := s.blank(); err != nil {
		return "", err
	}
	if s.peek() == '"' {
		return s.quoted()
	}
	v := s.while(isToken)
	if v == "" {
		return "", fmt.Errorf("no value at %q", s.rest())
	}
	return v, nil
}

func (s *scanner) version() (int, error) {
	digits := s.while(func(c byte) bool { return c >= '0' && c <= '9' })
	n, err := strconv.Atoi(digits)
	if err != nil || n > 1<<20 {
		return 0, fmt.Errorf("bad version %q", digits)
	}
	return n, nil
}

func (s *scanner) keyword(what string) (string, error) {
	if err := s.blank(); err != nil {
		return "", err
	}
	k := s.while(isKeyword)
	if k == "" {
		return "", fmt.Errorf("no %s at %q", what, s.rest())
	}
	return strings.ToLower(k), s.blank()
}

func (s *scanner) expect(c byte) error {
	if err := s.blank(); err != nil {
		return err
	}
	if !s.take(c) {
		return fmt.Errorf("want %q at %q", c, s.rest())
	}
	return s.blank()
}

// result reads one resinfo, or the word "none" that stands for no result.
func (s *scanner) result() (r MethodResult, none bool, err error) {
	r.Version = 1
	if r.Method, err = s.keyword("method"); err != nil {
		return r, false, err
	}
	if r.Method == "none" && (s.done() || s.peek() == ';') {
		return r, true, nil
	}
	if s.take('/') {
		if err = s.blank(); err != nil {
			return r, false, err
		}
		if r.Version, err = s.version(); err != nil {
			return r, false, err
		}
	}
	if err = s.expect('='); err != nil {
		return r, false, err
	}
	if r.Value, err = s.keyword("result"); err != nil {
		return r, false, err
	}
	for !s.done() && s.peek() != ';' {
		if err = s.property(&r); err != nil {
			return r, false, err
		}
	}
	return r, false, nil
}

// property reads one propspec, or the reasonspec.
func (s *scanner) property(r *MethodResult) (err error) {
	var p Property
	if p.Type, err = s.keyword("property"); err != nil {
		return err
	}
	if p.Type == "reason" && s.peek() == '=' {
		s.at++
		if r.Reason, err = s.value(); err != nil {
			return err
		}
		return s.blank()
	}
	if err = s.expect('.'); err != nil {
		return err
	}
	if p.Name, err = s.keyword("property"); err != nil {
		return err
	}
	if err = s.expect('='); err != nil {
		return err
	}
	if p.Value, err = s.pvalue(); err != nil {
		return err
	}
	r.Properties = append(r.Properties, p)
	return s.blank()
}

func (s *scanner) pvalue() (string, error) {
	if s.peek() != '"' {
		return s.while(isPvalue), nil
	}
	from := s.at
	v, err := s.quoted()
	if err != nil || s.peek() != '@' {
		return v, err
	}
	local := s.in[from:s.at]
	return strings.NewReplacer("\r", "", "\n", "").Replace(local) + s.while(isPvalue), nil
}

// lineLength is where lines are folded, if they can be.
const lineLength = 78

// Format writes the field, its name and line ends (LF) included. Whatever the
// values hold, the result is one well-formed field: line breaks and other
// control bytes become "?", so does invalid UTF-8, values are cut at 256
// bytes, and what is no token is quoted.
func (a *AuthRes) Format() []byte {
	w := &writer{out: []byte(FieldName + ":")}
	w.col = len(w.out)
	id := a.ID
	if id == "" {
		id = "localhost"
	}
	first := quote(id, isToken)
	if a.Version > 1 {
		first += " " + strconv.Itoa(a.Version)
	}
	w.word(first + ";")
	if len(a.Results) == 0 {
		w.word("none")
	}
	for i, r := range a.Results {
		w.fold()
		words := r.words()
		if i < len(a.Results)-1 {
			words[len(words)-1] += ";"
		}
		for _, s := range words {
			w.word(s)
		}
	}
	return append(w.out, '\n')
}

func (r MethodResult) words() []string {
	method := keep(r.Method)
	if r.Version > 1 {
		method += "/" + strconv.Itoa(r.Version)
	}
	words := []string{method + "=" + keep(r.Value)}
	if r.Reason != "" {
		words = append(words, "reason="+quote(r.Reason, nil))
	}
	for _, p := range r.Properties {
		words = append(words, keep(p.Type)+"."+keep(p.Name)+"="+quote(p.Value, isPlain))
	}
	return words
}

// keep makes a keyword out of anything.
func keep(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && i < 64; i++ {
		if isKeyword(s[i]) {
			b.WriteByte(s[i])
		}
	}
	if b.Len() == 0 {
		return "unknown"
	}
	return strings.ToLower(b.String())
}

// isPlain is a token or an address, which a pvalue may be unquoted.
func isPlain(c byte) bool { return isToken(c) && c < 0x80 || c == '@' }

// clean makes a value fit to stand in one line.
func clean(s string) string {
	if len(s) > maxValue {
		end := maxValue
		for end > maxValue-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7F && r < 0xA0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// quote writes a value, in quotes unless plain accepts all its bytes.
func quote(s string, plain func(byte) bool) string {
	s = clean(s)
	bare := plain != nil && s != ""
	for i := 0; bare && i < len(s); i++ {
		bare = plain(s[i])
	}
	if bare {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// writer folds between words.
type writer struct {
	out []byte
	col int
}

func (w *writer) fold() {
	w.out = append(w.out, '\n', '\t')
	w.col = 8
}

func (w *writer) word(s string) {
	switch last := w.out[len(w.out)-1]; {
	case last == '\t':
	case w.col+1+len(s) > lineLength:
		w.fold()
	default:
		w.out = append(w.out, ' ')
		w.col++
	}
	w.out = append(w.out, s...)
	w.col += len(s)
}
