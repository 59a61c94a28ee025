package resolver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxChain is how many CNAMEs are followed for one question.
	maxChain = 12
	// maxTTL and maxNegativeTTL cap what a server may ask us to remember
	// (RFC 2308 section 5).
	maxTTL         = 24 * time.Hour
	maxNegativeTTL = time.Hour
)

// search is one question on its way through CNAMEs, and in the end its result.
type search struct {
	qtype     uint16
	name      string // where we are now
	chain     []string
	records   []dns.RR
	kind      Kind // 0 while searching and when found; else NXDomain, NoData, Loop
	authentic bool
	ttl       time.Duration
	server    string
}

// resolve finds the records of qtype under name. Errors are *Error; with
// NXDomain and NoData the search is valid but for its records.
func (r *Resolver) resolve(ctx context.Context, name string, qtype uint16) (search, error) {
	asked, err := wireName(name)
	if err != nil {
		return search{}, &Error{Kind: BadName, Name: name, Type: dns.TypeToString[qtype], Err: err}
	}
	key := cacheKey{asked, qtype}
	if s, ok := r.cache.get(key); ok {
		return s, s.err(name)
	}
	s := search{qtype: qtype, name: asked, authentic: true, ttl: maxTTL}
	for more := true; more; {
		var got reply
		got, err = r.source.exchange(ctx, s.name, qtype)
		if err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Name = name
			}
			return search{}, err
		}
		s.server = got.server
		s.authentic = s.authentic && got.trusted && got.msg.AuthenticatedData
		more = s.absorb(got.msg)
	}
	r.cache.put(key, s)
	return s, s.err(name)
}

// err is the error that a finished search amounts to, nil if it found records.
func (s *search) err(name string) error {
	if s.kind == 0 {
		return nil
	}
	return &Error{Kind: s.kind, Name: name, Type: dns.TypeToString[s.qtype], Server: s.server}
}

// absorb follows the name through the answer m. It returns true if the answer
// ended at a CNAME that m does not resolve, so that its target must be asked
// for. Each such step lengthens the chain, which is bounded. The code of m is
// about the last name of the chain (RFC 6604 section 3).
func (s *search) absorb(m *dns.Msg) (more bool) {
	start := s.name
	for {
		if rrs := recordsAt(m.Answer, s.name, s.qtype); len(rrs) > 0 {
			s.records = rrs
			s.lowerTTL(rrs)
			return false
		}
		aliases := recordsAt(m.Answer, s.name, dns.TypeCNAME)
		if len(aliases) == 0 {
			break
		}
		s.lowerTTL(aliases)
		s.chain = append(s.chain, s.name)
		s.name = dns.CanonicalName(aliases[0].(*dns.CNAME).Target)
		if len(s.chain) > maxChain || slices.Contains(s.chain, s.name) {
			s.kind, s.ttl = Loop, 0
			return false
		}
	}
	soa := startOfAuthority(m)
	switch {
	case m.Rcode == dns.RcodeNameError:
		s.kind = NXDomain
	case s.name != start && soa == nil:
		return true
	default:
		s.kind = NoData
	}
	s.negativeTTL(soa)
	return false
}

func (s *search) lowerTTL(rrs []dns.RR) {
	for _, rr := range rrs {
		s.ttl = min(s.ttl, seconds(rr.Header().Ttl))
	}
}

// negativeTTL follows RFC 2308 section 5: the lesser of the SOA's own time to
// live and its minimum field; without a SOA the denial is not to be kept.
func (s *search) negativeTTL(soa *dns.SOA) {
	if soa == nil {
		s.ttl = 0
		return
	}
	s.ttl = min(s.ttl, maxNegativeTTL, seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
}

// seconds reads a time to live; with the top bit set it means zero (RFC 2181
// section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// recordsAt picks the records of one name and type. CNAMEs without a target
// are left out.
func recordsAt(rrs []dns.RR, name string, qtype uint16) []dns.RR {
	var out []dns.RR
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || h.Name != name && dns.CanonicalName(h.Name) != name {
			continue
		}
		if c, ok := rr.(*dns.CNAME); qtype == dns.TypeCNAME && (!ok || c.Target == "") {
			continue
		}
		out = append(out, rr)
	}
	return out
}

func startOfAuthority(m *dns.Msg) *dns.SOA {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa
		}
	}
	return nil
}

// plainName tells that a name is in that form but for the final dot, as almost
// all are.
func plainName(name string) bool {
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
		if label > 63 {
			return false
		}
	}
	return name != "" && len(name) <= 253
}

// wireName brings a name into the one form used for comparing: as it comes
// back from a server, lower case, with the final dot.
func wireName(name string) (string, error) {
	if plainName(name) {
		return dns.Fqdn(name), nil
	}
	if name == "" {
		return "", errors.New("empty name")
	}
	if strings.IndexFunc(name, func(r rune) bool { return r >= 0x80 }) >= 0 {
		return "", errors.New("not ASCII")
	}
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil {
		return "", errors.New("bad label or too long")
	}
	back, _, err := dns.UnpackDomainName(buf[:n], 0)
	if err != nil {
		return "", err
	}
	return dns.CanonicalName(back), nil
}
