// Package envelope says who a message is from and for, and how it came.
//
// It hides how addresses are written: RFC 5321 paths with quoted local parts, address literals and source routes,
// SMTPUTF8 (RFC 6531) and IDNA (RFC 5890). It guarantees that two addresses that RFC 5321 tells apart stay apart, that
// what it prints parses to the same address, and that no value it hands to another program holds a NUL or a line end.
package envelope

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of RFC 5321 section 4.5.3.1 in bytes.
const (
	MaxLocal  = 64
	MaxDomain = 255
	MaxPath   = 256 // with the angle brackets
)

// Address is a mailbox. Its zero value is the null path <>.
type Address struct {
	Local  string // content of the local part, unquoted: a@b for "a@b"@c.example
	Domain string // lower-case name, literal "[192.0.2.1]" or "[IPv6:2001:db8::1]", or "" for a bare postmaster
}

// IsNull is true for the null path, the sender of bounces (RFC 5321 section 4.5.5).
func (a Address) IsNull() bool { return a == Address{} }

// String prints the address without angle brackets, the local part quoted where RFC 5321 section 4.1.2 needs it.
// The null path is "".
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	local := a.Local
	if !isDotString(local) {
		local = quote(local)
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

// Path prints the address in angle brackets, as in MAIL FROM and Return-Path.
func (a Address) Path() string { return "<" + a.String() + ">" }

// IsLiteral is true when the domain is an address literal (RFC 5321 section 4.1.3).
func (a Address) IsLiteral() bool { return strings.HasPrefix(a.Domain, "[") }

// IP is the address of a literal.
func (a Address) IP() (netip.Addr, bool) { return literalIP(a.Domain) }

// NeedsUTF8 is true when the address can only be sent with SMTPUTF8, or with its domain as A-labels (RFC 6531).
func (a Address) NeedsUTF8() bool { return !isASCII(a.Local) || !isASCII(a.Domain) }

// Equal compares domains by their A-labels and local parts byte by byte; "postmaster" alone is compared in any case
// (RFC 5321 sections 2.4 and 4.5.1).
func (a Address) Equal(b Address) bool {
	if a.Local != b.Local && !(strings.EqualFold(a.Local, "postmaster") && strings.EqualFold(b.Local, "postmaster")) {
		return false
	}
	if a.Domain == b.Domain {
		return true
	}
	x, errX := a.ASCII()
	y, errY := b.ASCII()
	return errX == nil && errY == nil && x.Domain == y.Domain
}

// domainProfile maps a domain to lower case and NFC and checks its labels, without the STD3 rule: names with an
// underscore exist.
var domainProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.Transitional(false))

// ASCII returns the address with its domain in A-labels (RFC 5890). The local part is left: an address whose local part
// is not ASCII still needs SMTPUTF8.
func (a Address) ASCII() (Address, error) {
	if a.Domain == "" || a.IsLiteral() || isASCII(a.Domain) {
		return a, nil
	}
	name, err := domainProfile.ToASCII(a.Domain)
	if err != nil {
		return a, badAddress(a.Domain, "domain is not a valid internationalised name")
	}
	a.Domain = name
	return a, checkDomain(name)
}

// Unicode returns the address with its domain in U-labels where that is valid.
func (a Address) Unicode() Address {
	if a.Domain == "" || a.IsLiteral() {
		return a
	}
	if name, err := domainProfile.ToUnicode(a.Domain); err == nil {
		a.Domain = name
	}
	return a
}

// quote makes a Quoted-string of RFC 5321 section 4.1.2.
func quote(local string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(local) {
		if local[i] == '"' || local[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}

// isDotString is Dot-string of RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531 section 3.3.
func isDotString(s string) bool {
	for _, atom := range strings.Split(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAtext(atom[i]) {
				return false
			}
		}
	}
	return true
}

// isAtext is atext of RFC 5322 section 3.2.3; bytes of UTF-8 are let through, the whole is checked for validity.
func isAtext(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
