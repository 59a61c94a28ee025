package policy

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
)

const (
	maxZone     = 180 // bytes of a zone's name, so that an IPv6 address still fits in front of it
	maxListText = 200 // bytes shown of what a list says about an address
)

// List is a DNS list of addresses (RFC 5782) and the answers of it that count.
type List struct {
	Zone    string // in A-labels, without the final dot
	answers []answer
}

// answer is a set of addresses: a range for each byte.
type answer [4]struct{ from, to byte }

// trouble are answers by which lists say that they do not answer: they are no listing unless they are asked for.
var trouble = []answer{
	{{127, 127}, {0, 0}, {0, 0}, {1, 1}},
	{{127, 127}, {0, 0}, {0, 0}, {255, 255}},
	{{127, 127}, {255, 255}, {255, 255}, {0, 255}},
}

// ParseList reads ZONE or ZONE=ANSWER,ANSWER... where an answer is an address in 127.0.0.0/8 whose bytes may be ranges or *,
// as in 127.0.0.4-7 or 127.0.*.2. Without answers every address in 127.0.0.0/8 is a listing except those by which lists tell
// that something is wrong with the question: 127.0.0.1, 127.0.0.255 and 127.255.255.*.
func ParseList(s string) (List, error) {
	zone, codes, given := strings.Cut(s, "=")
	name, err := envelope.ParseDomain(zone)
	if err != nil {
		return List{}, fmt.Errorf("%q is not the name of a DNS zone", zone)
	}
	ascii, err := envelope.Address{Domain: name}.ASCII()
	if err != nil || len(ascii.Domain) > maxZone {
		return List{}, fmt.Errorf("%q cannot be a zone of addresses", zone)
	}
	l := List{Zone: ascii.Domain}
	if !given {
		return l, nil
	}
	for code := range strings.SplitSeq(codes, ",") {
		a, err := parseAnswer(code)
		if err != nil {
			return List{}, err
		}
		l.answers = append(l.answers, a)
	}
	return l, nil
}

func parseAnswer(s string) (a answer, err error) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 || parts[0] != "127" {
		return a, fmt.Errorf("answer %q of a DNS list is not in 127.0.0.0/8", s)
	}
	for i, p := range parts {
		from, to, ranged := strings.Cut(p, "-")
		switch {
		case p == "*":
			from, to = "0", "255"
		case !ranged:
			to = from
		}
		low, err1 := strconv.ParseUint(from, 10, 8)
		high, err2 := strconv.ParseUint(to, 10, 8)
		if err1 != nil || err2 != nil || low > high {
			return a, fmt.Errorf("answer %q of a DNS list: %q is no byte, no range and no *", s, p)
		}
		a[i].from, a[i].to = byte(low), byte(high)
	}
	return a, nil
}

func (a answer) holds(ip netip.Addr) bool {
	if !ip.Is4() {
		return false
	}
	for i, b := range ip.As4() {
		if b < a[i].from || b > a[i].to {
			return false
		}
	}
	return true
}

// counts says whether an answer is a listing.
func (l List) counts(ip netip.Addr) bool {
	in := func(set []answer) bool {
		for _, a := range set {
			if a.holds(ip) {
				return true
			}
		}
		return false
	}
	if l.answers != nil {
		return in(l.answers)
	}
	return ip.Is4() && ip.As4()[0] == 127 && !in(trouble)
}

// query is the name to ask for: the bytes of an IPv4 address, the half bytes of an IPv6 one, last first (RFC 5782 sections
// 2.1 and 2.4).
func (l List) query(ip netip.Addr) string {
	var labels []string
	ip = ip.Unmap()
	if ip.Is4() {
		for _, b := range ip.As4() {
			labels = append(labels, strconv.Itoa(int(b)))
		}
	} else {
		for _, c := range hex.EncodeToString(ip.AsSlice()) {
			labels = append(labels, string(c))
		}
	}
	var b strings.Builder
	for i := len(labels) - 1; i >= 0; i-- {
		b.WriteString(labels[i] + ".")
	}
	return b.String() + l.Zone
}

// Has asks whether an address is listed, and for a listing what the list says about it, which may be empty. Trouble with the
// DNS is no listing.
func (l List) Has(ctx context.Context, dns *resolver.Resolver, ip netip.Addr, explain bool) (listed bool, text string) {
	name := l.query(ip)
	found, err := dns.Addresses(ctx, name, true, false)
	if err != nil {
		return false, ""
	}
	for _, a := range found.Records {
		listed = listed || l.counts(a)
	}
	if !listed || !explain {
		return listed, ""
	}
	if said, err := dns.TXT(ctx, name); err == nil {
		text = said.Records[0]
	}
	return true, text
}
