// Package resolver asks the DNS. It hides where answers come from (the servers
// of /etc/resolv.conf, one named server, a zone file, or a recording) and everything about
// the wire: UDP and then TCP, EDNS0, retries, CNAME chains, the cache.
//
// It guarantees that the ways a question can fail stay apart (see Kind): "there
// is no such domain" (NXDomain) and "there are no such records" (NoData) are
// answers, all else is trouble that may pass. Names are taken with or without
// the final dot and are absolute: there is no search list. Names that come out
// are lower case, in presentation form and end in a dot. A name must be ASCII;
// an internationalised one has to be made an A-label first.
//
// A Resolver may be used by several goroutines at once.
//
// RFC 1034, 1035 (messages, zone files), 2308 (negative answers and their
// caching), 4592 (wildcards), 5452 (answers must fit the question), 6604 (the
// code of an answer with CNAMEs), 6698 (TLSA), 6840 section 5.7 (AD bit), 6891
// (EDNS0).
package resolver

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Options says where answers come from: a zone file, else one server, else the
// servers of /etc/resolv.conf in order.
type Options struct {
	// Server is HOST:PORT, HOST (port 53) or [IPV6]:PORT. Naming a server
	// means trusting it, its word on DNSSEC included.
	Server string
	// ZoneFile names a master file that then is the whole DNS; see Zone. Server
	// is not looked at.
	ZoneFile string
	// RecordFile names a file into which every question goes with its answer, and the clock, which then stands still.
	RecordFile string
	// ReplayFile names a recording that then is the whole DNS. No other field is looked at.
	ReplayFile string
	// Timeout is how long one server is waited for at each try. Zero: what
	// resolv.conf says, else five seconds.
	Timeout time.Duration
}

// A Resolver answers questions. The zero value is of no use; see New.
type Resolver struct {
	source source
	cache  *cache    // nil where the source is in memory anyway
	clock  time.Time // of a recording; zero: the present
}

// source is one place answers come from: servers, or a zone.
type source interface {
	// exchange asks one question and returns an answer that fits it and whose
	// code is NOERROR or NXDOMAIN. The error is an *Error.
	exchange(ctx context.Context, name string, qtype uint16) (reply, error)
}

// reply is an answer and who gave it.
type reply struct {
	msg     *dns.Msg
	server  string
	trusted bool // whether its AD bit means anything here
}

// New makes a Resolver. It opens no socket; a zone file or a recording is read here, whole, and a new recording begun.
func New(o Options) (*Resolver, error) {
	if o.Timeout < 0 {
		return nil, fmt.Errorf("resolver time-out %v is negative", o.Timeout)
	}
	if o.ReplayFile != "" {
		r, err := loadReplay(o.ReplayFile)
		if err != nil {
			return nil, err
		}
		return &Resolver{source: r, clock: r.clock}, nil
	}
	r, err := fresh(o)
	if err != nil || o.RecordFile == "" {
		return r, err
	}
	rec, err := newRecorder(r.source, o.RecordFile, time.Now().UTC().Truncate(time.Second))
	if err != nil {
		return nil, err
	}
	return &Resolver{source: rec, clock: rec.clock}, nil // it remembers for itself
}

// fresh makes a Resolver that asks now.
func fresh(o Options) (*Resolver, error) {
	if o.ZoneFile != "" {
		z, err := LoadZone(o.ZoneFile)
		if err != nil {
			return nil, err
		}
		return &Resolver{source: zoneSource{z, o.ZoneFile}}, nil
	}
	n, err := newNetwork(o)
	if err != nil {
		return nil, err
	}
	return &Resolver{source: n, cache: newCache()}, nil
}

// Now is the time that goes with the answers: the present or, where they are recorded or come from a recording, that at
// which it began. What judges by answers and time has to take it from here to come to the same end again.
func (r *Resolver) Now() time.Time {
	if r.clock.IsZero() {
		return time.Now()
	}
	return r.clock
}

// Answer is what was found under a name. When the error is an *Error of kind
// NXDomain, NoData or Loop, all fields but Records are valid too: a denial can
// also be authentic (RFC 7672 section 2.1).
type Answer[T any] struct {
	Records []T
	// Name is where the records stand, after any CNAMEs.
	Name string
	// Chain holds the aliases that led to Name, the name asked first; it is
	// empty when there was no CNAME.
	Chain []string
	// Authentic tells that a trusted resolver vouched for every step (AD bit):
	// one on this machine, one named by Options.Server, or a zone file that
	// declares these names secure.
	Authentic bool
	// TTL is how long the answer stays good, the shortest of all its parts.
	TTL time.Duration
}

// MX is one mail exchanger, RFC 1035 section 3.3.9. Host is "." in a null MX
// (RFC 7505).
type MX struct {
	Preference uint16
	Host       string
}

// TLSA is one certificate association, RFC 6698 section 2.1.
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// String is the presentation form of the record's data, "3 1 1 ab12...".
func (t TLSA) String() string {
	return fmt.Sprintf("%d %d %d %x", t.Usage, t.Selector, t.MatchingType, t.Data)
}

// MX returns the mail exchangers of name in the order the server gave.
func (r *Resolver) MX(ctx context.Context, name string) (Answer[MX], error) {
	return lookup(ctx, r, name, dns.TypeMX, func(rr dns.RR) (MX, bool) {
		mx, ok := rr.(*dns.MX)
		if !ok || mx.Mx == "" {
			return MX{}, false
		}
		return MX{mx.Preference, canonical(mx.Mx)}, true
	})
}

// canonical is dns.CanonicalName, quick for names that are so already.
func canonical(name string) string {
	if strings.HasSuffix(name, ".") && plainName(name) {
		return name
	}
	return dns.CanonicalName(name)
}

// TXT returns the texts of name. The strings of one record are joined without
// anything between them (RFC 7208 section 3.3) and are the bytes that were on
// the wire, whatever they are.
func (r *Resolver) TXT(ctx context.Context, name string) (Answer[string], error) {
	return lookup(ctx, r, name, dns.TypeTXT, func(rr dns.RR) (string, bool) {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			return "", false
		}
		return unescape(strings.Join(txt.Txt, "")), true
	})
}

// PTR returns the names of an address. They are what its owner claims; whether
// a name leads back to the address is for the caller to ask.
func (r *Resolver) PTR(ctx context.Context, addr netip.Addr) (Answer[string], error) {
	name, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return Answer[string]{}, &Error{Kind: BadName, Name: addr.String(), Type: "PTR"}
	}
	return lookup(ctx, r, name, dns.TypePTR, func(rr dns.RR) (string, bool) {
		ptr, ok := rr.(*dns.PTR)
		if !ok || ptr.Ptr == "" {
			return "", false
		}
		return dns.CanonicalName(ptr.Ptr), true
	})
}

// TLSA returns the certificate associations at name, such as
// _25._tcp.mx.example.org.
func (r *Resolver) TLSA(ctx context.Context, name string) (Answer[TLSA], error) {
	return lookup(ctx, r, name, dns.TypeTLSA, func(rr dns.RR) (TLSA, bool) {
		t, ok := rr.(*dns.TLSA)
		if !ok {
			return TLSA{}, false
		}
		data, err := hex.DecodeString(t.Certificate)
		return TLSA{t.Usage, t.Selector, t.MatchingType, data}, err == nil
	})
}

// CNAME returns the one name that name is an alias of, without following it.
func (r *Resolver) CNAME(ctx context.Context, name string) (Answer[string], error) {
	return lookup(ctx, r, name, dns.TypeCNAME, func(rr dns.RR) (string, bool) {
		alias, ok := rr.(*dns.CNAME)
		if !ok || alias.Target == "" {
			return "", false
		}
		return dns.CanonicalName(alias.Target), true
	})
}

// Addresses returns the addresses of name: IPv4 ones (want4) and then IPv6
// ones (want6), each in the order the server gave, no address twice. It is
// enough that one of two questions was answered. When neither was, the error
// is the one that leaves most hope: trouble before NoData before NXDomain.
func (r *Resolver) Addresses(ctx context.Context, name string, want4, want6 bool) (Answer[netip.Addr], error) {
	switch {
	case want4 && want6:
		var (
			a6   Answer[netip.Addr]
			err6 error
			wg   sync.WaitGroup
		)
		wg.Go(func() { a6, err6 = lookup(ctx, r, name, dns.TypeAAAA, address) })
		a4, err4 := lookup(ctx, r, name, dns.TypeA, address)
		wg.Wait()
		return bothFamilies(a4, err4, a6, err6)
	case want6:
		return lookup(ctx, r, name, dns.TypeAAAA, address)
	case want4:
		return lookup(ctx, r, name, dns.TypeA, address)
	}
	return Answer[netip.Addr]{}, &Error{Kind: NoData, Name: name, Type: "A"}
}

func bothFamilies(a4 Answer[netip.Addr], err4 error, a6 Answer[netip.Addr], err6 error) (Answer[netip.Addr], error) {
	switch {
	case err4 == nil && err6 != nil:
		return a4, nil
	case err4 != nil && err6 == nil:
		return a6, nil
	case err4 != nil && hope(err6) > hope(err4):
		return a6, err6
	case err4 != nil:
		return a4, err4
	}
	a4.Records = append(a4.Records, a6.Records...)
	a4.Authentic = a4.Authentic && a6.Authentic
	a4.TTL = min(a4.TTL, a6.TTL)
	return a4, nil
}

// hope ranks errors by how likely it is that asking again helps.
func hope(err error) int {
	var e *Error
	switch {
	case !errors.As(err, &e) || e.Temporary():
		return 2
	case e.Kind == NoData:
		return 1
	}
	return 0
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok := netip.AddrFromSlice(rr.A)
		return a.Unmap(), ok
	case *dns.AAAA:
		a, ok := netip.AddrFromSlice(rr.AAAA)
		return a, ok && a.Is6()
	}
	return netip.Addr{}, false
}

// lookup resolves a question and turns the records into T, dropping those that
// carry no data (an empty RDATA can be unpacked without error) and those that
// came twice.
func lookup[T any](ctx context.Context, r *Resolver, name string, qtype uint16, convert func(dns.RR) (T, bool)) (Answer[T], error) {
	s, err := r.resolve(ctx, name, qtype)
	a := Answer[T]{Name: s.name, Chain: slices.Clone(s.chain), Authentic: s.authentic, TTL: s.ttl}
	if err != nil {
		return a, err
	}
	for i, rr := range s.records {
		if v, ok := convert(rr); ok && !repeated(s.records[:i], rr) {
			a.Records = append(a.Records, v)
		}
	}
	if len(a.Records) == 0 {
		return a, &Error{Kind: NoData, Name: name, Type: dns.TypeToString[qtype], Server: s.server}
	}
	return a, nil
}

func repeated(before []dns.RR, rr dns.RR) bool {
	for _, b := range before {
		if dns.IsDuplicate(b, rr) {
			return true
		}
	}
	return false
}

// unescape turns the presentation form of a character string (\" \\ \DDD) back
// into its bytes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) && digit(s[i+1]) && digit(s[i+2]) && digit(s[i+3]) {
			b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
			i += 3
			continue
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
