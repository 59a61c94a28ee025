package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Record is a record that was read whole and found to be well formed.
type Record struct {
	Terms    []Term // the mechanisms, in order
	Redirect *Term  // nil if there is none
	Exp      *Term
}

// Term is a mechanism or modifier, RFC 7208 section 4.6.1.
type Term struct {
	Text   string       // as published
	Name   string       // lower case: "all", "a", "redirect"...
	Result Result       // of a mechanism that matches
	Prefix netip.Prefix // of ip4 and ip6; masked
	Bits4  int          // of a and mx: how much of an IPv4 address counts, 0 to 32
	Bits6  int
	spec   macros // nil: the domain of the record
}

// Lookup tells whether the term counts to the limit on look-ups.
func (t *Term) Lookup() bool {
	switch t.Name {
	case "include", "a", "mx", "ptr", "exists", "redirect":
		return true
	}
	return false
}

// Target is the domain the term is about in the record of domain; false if that depends on the mail.
func (t *Term) Target(domain string) (string, bool) {
	for _, p := range t.spec {
		if p.letter != 0 && p.letter != 'd' {
			return "", false
		}
	}
	return (&evaluation{}).target(t.spec, domain, nil), true
}

const version = "v=spf1"

// IsRecord tells whether a TXT record claims to be an SPF record (RFC 7208 section 4.5).
func IsRecord(text string) bool {
	return len(text) >= len(version) && strings.EqualFold(text[:len(version)], version) &&
		(len(text) == len(version) || text[len(version)] == ' ')
}

// Parse reads a record. The error names the first term that is wrong; Check finds them all.
func Parse(text string) (*Record, error) {
	r, errs := Check(text)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return r, nil
}

// Check reads a record and returns the terms that are right and what is wrong with the others.
func Check(text string) (*Record, []error) {
	if !IsRecord(text) {
		return nil, []error{errors.New(`the record does not begin with "v=spf1"`)}
	}
	r := &Record{Terms: make([]Term, 0, 1+strings.Count(text, " "))}
	var errs []error
	for word := range strings.SplitSeq(text[len(version):], " ") {
		if word == "" {
			continue
		}
		if err := r.add(word); err != nil {
			errs = append(errs, fmt.Errorf("term %q: %w", word, err))
		}
	}
	return r, errs
}

func (r *Record) add(word string) error {
	if name, value, ok := modifier(word); ok {
		return r.addModifier(word, name, value)
	}
	t, err := parseMechanism(word)
	if err == nil {
		r.Terms = append(r.Terms, t)
	}
	return err
}

// modifier divides name=value; the name decides that it is one.
func modifier(word string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(word, "=")
	if !ok || name == "" || !isLetter(name[0]) {
		return "", "", false
	}
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && !(c >= '0' && c <= '9') && strings.IndexByte("-_.", c) < 0 {
			return "", "", false
		}
	}
	return strings.ToLower(name), value, true
}

func (r *Record) addModifier(word, name, value string) error {
	var at **Term
	switch name {
	case "redirect":
		at = &r.Redirect
	case "exp":
		at = &r.Exp
	default:
		_, err := parseMacros(value, inModifier)
		return err
	}
	if *at != nil {
		return fmt.Errorf("there is another %s=", name)
	}
	spec, err := parseDomainSpec(value)
	if err == nil {
		*at = &Term{Text: word, Name: name, spec: spec}
	}
	return err
}

// qualifiers are the results of a mechanism that matches, RFC 7208 section 4.6.2.
var qualifiers = map[byte]Result{'+': Pass, '-': Fail, '~': SoftFail, '?': Neutral}

// parseMechanism reads a directive: qualifier, name, argument.
func parseMechanism(word string) (Term, error) {
	t := Term{Text: word, Result: Pass, Bits4: 32, Bits6: 128}
	if result, ok := qualifiers[word[0]]; ok {
		t.Result, word = result, word[1:]
	}
	end := strings.IndexAny(word, ":/")
	if end < 0 {
		end = len(word)
	}
	t.Name = strings.ToLower(word[:end])
	arg := word[end:]
	read, ok := mechanisms[t.Name]
	if !ok {
		if i := strings.IndexByte(t.Name, '='); i >= 0 {
			return t, errors.New("a modifier has a letter first and no qualifier")
		}
		return t, errors.New("there is no such mechanism")
	}
	return t, read(&t, arg)
}

// mechanisms read the argument of a mechanism, its ":" or "/" included.
var mechanisms = map[string]func(t *Term, arg string) error{
	"all":     (*Term).readNothing,
	"include": (*Term).readDomain,
	"exists":  (*Term).readDomain,
	"ptr":     (*Term).readDomainOrNone,
	"a":       (*Term).readHosts,
	"mx":      (*Term).readHosts,
	"ip4":     (*Term).readNetwork,
	"ip6":     (*Term).readNetwork,
}

func (t *Term) readNothing(arg string) error {
	if arg != "" {
		return errors.New("it takes no argument")
	}
	return nil
}

func (t *Term) readDomain(arg string) (err error) {
	name, ok := strings.CutPrefix(arg, ":")
	if !ok {
		return errors.New("a domain is missing")
	}
	t.spec, err = parseDomainSpec(name)
	return err
}

func (t *Term) readDomainOrNone(arg string) error {
	if arg == "" {
		return nil
	}
	return t.readDomain(arg)
}

// readHosts reads [":" domain-spec] [ "/" bits ] [ "//" bits ]. A domain-spec may hold slashes, but cannot end in one
// and digits.
func (t *Term) readHosts(arg string) (err error) {
	rest := strings.TrimRight(arg, "0123456789")
	if before, ok := strings.CutSuffix(rest, "//"); ok {
		if t.Bits6, err = prefixLength(arg[len(rest):], 128); err != nil {
			return err
		}
		arg = before
		rest = strings.TrimRight(arg, "0123456789")
	}
	if before, ok := strings.CutSuffix(rest, "/"); ok {
		if t.Bits4, err = prefixLength(arg[len(rest):], 32); err != nil {
			return err
		}
		arg = before
	}
	return t.readDomainOrNone(arg)
}

// prefixLength reads 0 to limit without leading zeros.
func prefixLength(digits string, limit int) (int, error) {
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > limit || strconv.Itoa(n) != digits {
		return 0, fmt.Errorf("prefix length %q is not a number from 0 to %d", digits, limit)
	}
	return n, nil
}

func (t *Term) readNetwork(arg string) error {
	text, ok := strings.CutPrefix(arg, ":")
	if !ok {
		return errors.New("an address is missing")
	}
	text, digits, hasLength := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Is4() != (t.Name == "ip4") || ip.Zone() != "" {
		return fmt.Errorf("%q is not an address of %s", text, t.Name)
	}
	bits := ip.BitLen()
	if hasLength {
		if bits, err = prefixLength(digits, bits); err != nil {
			return err
		}
	}
	t.Prefix = netip.PrefixFrom(ip, bits).Masked()
	return nil
}

// UsesNames tells whether the term asks for the names of the client by %{p}, which is a look-up of its own.
func (t *Term) UsesNames() bool {
	return slices.ContainsFunc(t.spec, func(p piece) bool { return p.letter == 'p' })
}

// CheckExplanation says what is wrong with a text that exp= leads to (RFC 7208 section 6.2).
func CheckExplanation(text string) error {
	_, err := parseMacros(text, inText)
	return err
}
