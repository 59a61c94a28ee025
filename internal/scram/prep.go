package scram

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// ErrForbidden is returned for a name or a password that SASLprep does not allow.
var ErrForbidden = errors.New("it holds a character that SASLprep (RFC 4013) forbids")

// toNothing is table B.1 of RFC 3454.
var toNothing = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00AD, Hi: 0x00AD, Stride: 1}, {Lo: 0x034F, Hi: 0x034F, Stride: 1}, {Lo: 0x1806, Hi: 0x1806, Stride: 1},
		{Lo: 0x180B, Hi: 0x180D, Stride: 1}, {Lo: 0x200B, Hi: 0x200D, Stride: 1}, {Lo: 0x2060, Hi: 0x2060, Stride: 1},
		{Lo: 0xFE00, Hi: 0xFE0F, Stride: 1}, {Lo: 0xFEFF, Hi: 0xFEFF, Stride: 1},
	},
	LatinOffset: 1,
}

// forbidden are tables C.2.2, C.6, C.7, C.8 and C.9 of RFC 3454. The other tables of RFC 4013 section 2.3 are classes of
// characters, and C.1.2, the spaces, has become U+0020 before.
var forbidden = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0080, Hi: 0x009F, Stride: 1}, {Lo: 0x0340, Hi: 0x0341, Stride: 1}, {Lo: 0x06DD, Hi: 0x06DD, Stride: 1},
		{Lo: 0x070F, Hi: 0x070F, Stride: 1}, {Lo: 0x180E, Hi: 0x180E, Stride: 1}, {Lo: 0x200C, Hi: 0x200F, Stride: 1},
		{Lo: 0x2028, Hi: 0x202E, Stride: 1}, {Lo: 0x2060, Hi: 0x2063, Stride: 1}, {Lo: 0x206A, Hi: 0x206F, Stride: 1},
		{Lo: 0x2FF0, Hi: 0x2FFB, Stride: 1}, {Lo: 0xFEFF, Hi: 0xFEFF, Stride: 1}, {Lo: 0xFFF9, Hi: 0xFFFD, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1D173, Hi: 0x1D17A, Stride: 1}, {Lo: 0xE0001, Hi: 0xE0001, Stride: 1}, {Lo: 0xE0020, Hi: 0xE007F, Stride: 1},
	},
	LatinOffset: 1,
}

// Prepare is SASLprep (RFC 4013): the form in which names and passwords are compared. Characters that Unicode 3.2 did not have
// are let through, as for a query (RFC 3454 section 7): a password may hold one that is younger than 2002.
func Prepare(s string) (string, error) {
	if plainASCII(s) {
		return s, nil
	}
	if !utf8.ValidString(s) {
		return "", ErrForbidden
	}
	s = norm.NFKC.String(strings.Map(mapped, s))
	for _, r := range s {
		if r < ' ' || r == 0x7F || unicode.Is(unicode.Co, r) || unicode.Is(forbidden, r) || r&0xFFFE == 0xFFFE || r >= 0xFDD0 && r <= 0xFDEF {
			return "", ErrForbidden
		}
	}
	if !oneDirection(s) {
		return "", ErrForbidden
	}
	return s, nil
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// mapped is RFC 4013 section 2.1: other spaces become U+0020, and what has no width of its own disappears.
func mapped(r rune) rune {
	switch {
	case unicode.Is(toNothing, r): // U+200B is in both tables; it goes, as with others who do this
		return -1
	case unicode.Is(unicode.Zs, r):
		return ' '
	}
	return r
}

// oneDirection is the rule of RFC 3454 section 6: with a letter that is written from right to left none of the other kind, and
// such letters at both ends.
func oneDirection(s string) bool {
	right, left := false, false
	for _, r := range s {
		switch class(r) {
		case bidi.R, bidi.AL:
			right = true
		case bidi.L:
			left = true
		}
	}
	if !right {
		return true
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return !left && isRight(first) && isRight(last)
}

func isRight(r rune) bool { c := class(r); return c == bidi.R || c == bidi.AL }

func class(r rune) bidi.Class {
	p, _ := bidi.LookupRune(r)
	return p.Class()
}
