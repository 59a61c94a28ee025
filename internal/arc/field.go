package arc

import (
	"fmt"
	"strings"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

// parsed is a signature as far as it is needed to check it.
type parsed struct {
	tags         dkim.Tags
	unsigned     []byte // the raw field with the value of b= taken out
	sig, hash    []byte
	header, body dkim.Canon
	length       int64 // l=, -1 when absent
	err          error // why it cannot be checked
}

// readField reads one field of a chain into the set of its instance. What is wrong with a signature beyond its instance
// stands in the signature, since it matters only if that is looked at.
func readField(k kind, f message.Field) (*Set, error) {
	if len(f.Raw) > MaxField {
		return nil, fmt.Errorf("%v longer than %d bytes", k, MaxField)
	}
	s := &Set{}
	s.raw[k] = f.Raw
	if k == results {
		var err error
		if s.Instance, s.Results, err = splitResults(f.Value()); err != nil {
			return nil, fmt.Errorf("%v %w", k, err)
		}
		return s, nil
	}
	tags, unsigned, err := dkim.ParseField(f.Raw)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", k, err)
	}
	i, _ := tags.Get("i")
	if s.Instance = parseInstance(i); s.Instance == 0 {
		return nil, fmt.Errorf("%v without an instance from 1 to %d in i=", k, MaxSets)
	}
	if k == signature {
		s.Message.read(tags, unsigned)
		s.Message.readMessage()
		return s, nil
	}
	s.Seal.read(tags, unsigned)
	cv, _ := tags.Get("cv")
	s.CV = Result(strings.ToLower(cv))
	if _, ok := tags.Get("h"); ok {
		return nil, fmt.Errorf("%v with h=, which it must not have", k) // RFC 8617 section 4.1.3
	}
	return s, nil
}

// parseInstance reads an instance of a set, from 1 to MaxSets, or is 0.
func parseInstance(s string) int {
	if len(s) == 0 || len(s) > 2 {
		return 0
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = n*10 + int(s[i]-'0')
	}
	if n > MaxSets {
		return 0
	}
	return n
}

// splitResults takes "i=N;" off the value of an ARC-Authentication-Results field (RFC 8617 section 4.1.1). Comments may
// stand around its parts.
func splitResults(value string) (int, string, error) {
	rest := skipBlank(value)
	if rest == "" || rest[0] != 'i' {
		return 0, "", fmt.Errorf("does not start with i=")
	}
	rest = skipBlank(rest[1:])
	if rest == "" || rest[0] != '=' {
		return 0, "", fmt.Errorf("does not start with i=")
	}
	rest = skipBlank(rest[1:])
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	n := parseInstance(rest[:digits])
	if n == 0 {
		return 0, "", fmt.Errorf("without an instance from 1 to %d in i=", MaxSets)
	}
	if rest = skipBlank(rest[digits:]); rest == "" || rest[0] != ';' {
		return 0, "", fmt.Errorf("without a semicolon after i=%d", n)
	}
	return n, strings.Trim(rest[1:], " \t\r\n"), nil
}

// skipBlank drops white space and comments (CFWS of RFC 5322 section 3.2.2) from the start. An unfinished comment is the
// rest.
func skipBlank(s string) string {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return s[i:]
		}
	}
	return ""
}

// read takes what both signatures of a set have (RFC 8617 sections 4.1.2 and 4.1.3).
func (s *Signature) read(tags dkim.Tags, unsigned []byte) {
	s.parsed = parsed{tags: tags, unsigned: unsigned, length: -1}
	s.Domain, _ = tags.Get("d")
	s.Selector, _ = tags.Get("s")
	s.Algorithm, _ = tags.Get("a")
	s.parsed.err = s.readSigner()
}

func (s *Signature) readSigner() (err error) {
	tags := s.parsed.tags
	for _, name := range []string{"a", "b", "d", "s"} {
		if v, _ := tags.Get(name); v == "" {
			return fmt.Errorf("no %s= tag", name)
		}
	}
	switch strings.ToLower(s.Algorithm) {
	case "rsa-sha256", "ed25519-sha256":
	default:
		return fmt.Errorf("unknown algorithm %q", clip(s.Algorithm))
	}
	if err := dkim.CheckName(s.Domain, s.Selector); err != nil {
		return err
	}
	if s.parsed.sig, err = tags.Bytes("b"); err != nil {
		return err
	}
	s.Time, err = tags.Instant("t")
	return err
}

// readMessage takes what only an ARC-Message-Signature has. That From must be in h= is not asked for, since the working
// group's suite has chains that pass without it; Covers tells.
func (s *Signature) readMessage() {
	if s.parsed.err == nil {
		s.parsed.err = s.readScope()
	}
}

func (s *Signature) readScope() (err error) {
	tags, p := s.parsed.tags, &s.parsed
	c, ok := tags.Get("c")
	if !ok {
		// The working group's suite and the validators in use take it so, though RFC 6376 has "simple/simple".
		c = "relaxed/relaxed"
	}
	if p.header, p.body, ok = dkim.ParseCanon(c); !ok {
		return fmt.Errorf("unknown canonicalisation c=%q", clip(c))
	}
	s.Canon = string(p.header) + "/" + string(p.body)
	s.WantBody, _ = tags.Get("bh")
	if s.WantBody == "" {
		return fmt.Errorf("no bh= tag")
	}
	if p.hash, err = tags.Bytes("bh"); err != nil {
		return err
	}
	if p.length, err = tags.Number("l", 76); err != nil {
		return err
	}
	if _, ok := tags.Get("h"); !ok {
		return fmt.Errorf("no h= tag")
	}
	for _, n := range tags.List("h") {
		if n != "" {
			s.Names = append(s.Names, n)
		}
		if strings.EqualFold(n, names[seal]) {
			return fmt.Errorf("%s is in h=", names[seal])
		}
	}
	if len(s.Names) > dkim.MaxNames {
		return fmt.Errorf("more than %d names in h=", dkim.MaxNames)
	}
	return nil
}

// Covers says whether fields of that name are signed.
func (s *Signature) Covers(name string) bool {
	for _, n := range s.Names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// clip keeps quoted input in an error short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60]
	}
	return s
}
