package wire

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Star is the number that "*" stands for until Set.Resolve: the largest one in the mailbox.
const Star = 0

// A Range is one element of a set, as written: the bounds may be Star or swapped.
type Range struct{ Lo, Hi uint32 }

// A Set is a sequence-set or a set of UIDs (RFC 3501 section 9).
type Set []Range

// maxRanges bounds the elements of one set.
const maxRanges = 50_000

// ParseSet reads "1:3,7,9:*".
func ParseSet(s string) (Set, error) {
	if strings.Count(s, ",") >= maxRanges {
		return nil, syntax("a set has too many elements")
	}
	var set Set
	for item := range strings.SplitSeq(s, ",") {
		a, b, isRange := strings.Cut(item, ":")
		lo, ok := setNumber(a)
		hi := lo
		if ok && isRange {
			hi, ok = setNumber(b)
		}
		if !ok {
			return nil, syntax("%q is not a set of numbers", s[:min(len(s), 40)])
		}
		set = append(set, Range{lo, hi})
	}
	return set, nil
}

func setNumber(s string) (uint32, bool) {
	if s == "*" {
		return Star, true
	}
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// Set reads a set from the command.
func (d *Decoder) Set() (Set, error) {
	return ParseSet(d.take(func(c byte) bool { return c >= '0' && c <= '9' || c == ':' || c == ',' || c == '*' }))
}

// Resolve puts last in place of Star, orders the bounds, sorts and merges. In an empty mailbox (last 0)
// "*" is nothing.
func (s Set) Resolve(last uint32) Set {
	out := make(Set, 0, len(s))
	for _, r := range s {
		if last == 0 && (r.Lo == Star || r.Hi == Star) {
			continue
		}
		lo, hi := r.Lo, r.Hi
		if lo == Star {
			lo = last
		}
		if hi == Star {
			hi = last
		}
		out = append(out, Range{min(lo, hi), max(lo, hi)})
	}
	slices.SortFunc(out, func(a, b Range) int {
		if a.Lo < b.Lo {
			return -1
		}
		if a.Lo > b.Lo {
			return 1
		}
		return 0
	})
	merged := out[:0]
	for _, r := range out {
		if n := len(merged); n > 0 && (merged[n-1].Hi == math.MaxUint32 || r.Lo <= merged[n-1].Hi+1) {
			merged[n-1].Hi = max(merged[n-1].Hi, r.Hi)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// Contains tells whether n is in a resolved set.
func (s Set) Contains(n uint32) bool {
	i, found := slices.BinarySearchFunc(s, n, func(r Range, n uint32) int {
		if r.Hi < n {
			return -1
		}
		if r.Lo > n {
			return 1
		}
		return 0
	})
	return found && i < len(s)
}

// String writes the set as IMAP does.
func (s Set) String() string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(setString(r.Lo))
		if r.Hi != r.Lo {
			b.WriteByte(':')
			b.WriteString(setString(r.Hi))
		}
	}
	return b.String()
}

func setString(n uint32) string {
	if n == Star {
		return "*"
	}
	return strconv.FormatUint(uint64(n), 10)
}
