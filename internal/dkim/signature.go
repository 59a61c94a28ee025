package dkim

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// signature is a DKIM-Signature field as far as it is needed to check it.
type signature struct {
	domain, identifier, selector, algorithm string
	header, body                            Canon
	names                                   []string
	sig, hash                               []byte
	length                                  int64 // l=, -1 when absent
	time, expires                           time.Time
	raw                                     []byte // the field
	value                                   place  // of b= in raw
	b, bh                                   string // of b= only the beginning
}

// block is what is hashed for the signature of a header with these fields.
func (s *signature) block(index Index) []byte {
	var fields [32][]byte
	var raw [1024]byte
	return HeaderBlock(s.header, index.appendFields(fields[:0], s.names), s.value.without(raw[:0], s.raw))
}

func (s *signature) form() BodyForm { return BodyForm{s.body, s.length} }

// parseSignature reads a whole raw DKIM-Signature field (RFC 6376 section 3.5). What could be read stands in the signature even
// with an error.
func parseSignature(raw []byte) (s signature, err error) {
	s.length = -1
	if len(raw) > MaxSignature {
		return s, fmt.Errorf("signature field longer than %d bytes", MaxSignature)
	}
	var room [12]tag
	tags, err := appendField(room[:0], raw)
	if err != nil {
		return s, err
	}
	s.raw, s.value = raw, tags.place("b", raw)
	// These first: they name the signature in the report of any later error.
	s.domain, _ = tags.Get("d")
	s.selector, _ = tags.Get("s")
	s.algorithm, _ = tags.Get("a")
	b, _ := tags.Get("b")
	if s.b = dropFWS(b[:min(len(b), 8)]); len(s.b) < 8 {
		s.b = dropFWS(b[:min(len(b), 200)])
		s.b = s.b[:min(len(s.b), 8)]
	}
	s.bh, _ = tags.Get("bh")
	s.bh = dropFWS(s.bh)
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if v, ok := tags.Get(name); !ok || v == "" {
			return s, fmt.Errorf("no %s= tag", name)
		}
	}
	if v, _ := tags.Get("v"); v != "1" {
		return s, fmt.Errorf("unknown version v=%q", clip(v))
	}
	if err := s.readWhat(tags); err != nil {
		return s, err
	}
	if err := s.readWho(tags); err != nil {
		return s, err
	}
	return s, s.readWhen(tags)
}

// readWhat reads what is signed and how: c, h, l, q, b, bh.
func (s *signature) readWhat(tags Tags) (err error) {
	c, ok := tags.Get("c")
	if !ok {
		c = "simple/simple"
	}
	if s.header, s.body, ok = ParseCanon(c); !ok {
		return fmt.Errorf("unknown canonicalisation c=%q", clip(c))
	}
	if s.length, err = tags.Number("l", 76); err != nil {
		return err
	}
	if s.sig, err = tags.Bytes("b"); err != nil {
		return err
	}
	if s.hash, err = tags.Bytes("bh"); err != nil {
		return err
	}
	if !contains(tags.List("q"), "dns/txt") {
		return fmt.Errorf("no known query method in q=")
	}
	s.names = tags.List("h")
	if len(s.names) > MaxNames {
		return fmt.Errorf("more than %d names in h=", MaxNames)
	}
	for _, n := range s.names {
		if n == "" || hasFWS(n) {
			return fmt.Errorf("bad name %q in h=", clip(n))
		}
	}
	if !contains(s.names, "from") {
		return fmt.Errorf("from is not in h=")
	}
	return nil
}

// readWho reads d, s and i. The domain of i= is d= or lies under it; which
// case its letters have does not matter.
func (s *signature) readWho(tags Tags) error {
	if !isName(s.domain) {
		return fmt.Errorf("bad domain d=%q", clip(s.domain))
	}
	if !isName(s.selector) {
		return fmt.Errorf("bad selector s=%q", clip(s.selector))
	}
	s.identifier = "@" + s.domain
	v, ok := tags.Get("i")
	if !ok {
		return nil
	}
	id, err := decodeQP(v)
	if err != nil {
		return fmt.Errorf("bad i=%q: %w", clip(v), err)
	}
	at := strings.LastIndexByte(id, '@')
	if at < 0 || !isUnder(id[at+1:], s.domain) {
		return fmt.Errorf("the domain of i=%q is not under d=%q", clip(id), clip(s.domain))
	}
	s.identifier = id
	return nil
}

// readWhen reads t and x.
func (s *signature) readWhen(tags Tags) (err error) {
	if s.time, err = tags.Instant("t"); err != nil {
		return err
	}
	if s.expires, err = tags.Instant("x"); err != nil {
		return err
	}
	if !s.time.IsZero() && !s.expires.IsZero() && !s.expires.After(s.time) {
		return fmt.Errorf("x= is not after t=")
	}
	return nil
}

// contains says whether want is in list, whatever the case of its letters. A
// list that is absent holds what is wanted: its default.
func contains(list []string, want string) bool {
	for _, s := range list {
		if strings.EqualFold(s, want) {
			return true
		}
	}
	return list == nil
}

// isName accepts what can be part of a DNS name, U-labels included.
func isName(s string) bool {
	label := 0 // bytes of it so far
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		switch {
		case c == '.' && label > 0:
			label = 0
		case !letter && c != '-' && c != '_' && c < 0x80, label == 63:
			return false
		default:
			label++
		}
	}
	return label > 0 && len(s) <= 253
}

func isUnder(name, domain string) bool {
	a, b := strings.ToLower(ASCII(name)), strings.ToLower(ASCII(domain))
	return a == b || strings.HasSuffix(a, "."+b)
}

// ASCII turns U-labels into A-labels, as far as that goes.
func ASCII(name string) string {
	plain := true
	for i := 0; i < len(name); i++ {
		plain = plain && name[i] < 0x80
	}
	if plain {
		return name
	}
	if a, err := idna.Lookup.ToASCII(name); err == nil {
		return a
	}
	return name // underscores, for one, are in use in selectors
}
