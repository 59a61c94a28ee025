package resolver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	maxZoneBytes   = 4 << 20
	maxZoneRecords = 50_000
	// zoneTTL is the time to live of records for which the file gives none.
	zoneTTL = 300
	// maxZoneHops ends a CNAME loop inside a zone. It lets a chain grow longer
	// than maxChain, so that the asker is the one to find it too long.
	maxZoneHops = maxChain + 4
)

// Zone is a small DNS in a text: a master file (RFC 1035 section 5) that may
// hold names of any domain. A name that is not in it does not exist. Wildcards,
// empty non-terminals and CNAMEs work as in the real DNS; the SOA above a name,
// if there is one, goes with a denial. There is no $INCLUDE. Relative names are
// relative to the root until $ORIGIN says otherwise; the time to live is 300
// until $TTL does.
//
// Comment lines that start with ";!" make names misbehave, for tests and for
// trying out what a program does then:
//
//	;! servfail NAME [TYPE...]   the answer is SERVFAIL
//	;! refused NAME [TYPE...]    the answer is REFUSED
//	;! timeout NAME [TYPE...]    no answer at all
//	;! truncate NAME [TYPE...]   over UDP only the truncation bit, all over TCP
//	;! secure NAME               answers for NAME and all below have the AD bit
//	;! insecure NAME             NAME and all below have not; the nearest counts
//
// Without TYPE every type is meant. The name need not exist otherwise. NAME is
// relative to the root, whatever $ORIGIN says.
//
// A Zone does not change once made.
type Zone struct {
	nodes  map[string]node // empty non-terminals are here too
	faults map[string][]fault
	secure map[string]bool
}

// node holds the records of one name by type.
type node map[uint16][]dns.RR

// fault is one directive about a name; no types means all.
type fault struct {
	what  string
	types []uint16
}

// LoadZone reads a zone from a file of at most 4 MiB.
func LoadZone(path string) (*Zone, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read zone: %w", err)
	}
	defer f.Close()
	return ParseZone(f, path)
}

// ParseZone reads a zone; file is its name in errors.
func ParseZone(r io.Reader, file string) (*Zone, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxZoneBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read zone: %w", err)
	}
	if len(text) > maxZoneBytes {
		return nil, fmt.Errorf("zone %s: more than %d bytes", file, maxZoneBytes)
	}
	z := &Zone{
		nodes:  map[string]node{".": {}},
		faults: map[string][]fault{},
		secure: map[string]bool{},
	}
	for i, line := range strings.Split(string(text), "\n") {
		if err := z.directive(line); err != nil {
			return nil, fmt.Errorf("zone %s: line %d: %w", file, i+1, err)
		}
	}
	if err := z.read(text); err != nil {
		return nil, fmt.Errorf("zone %s: %w", file, err)
	}
	return z, nil
}

func (z *Zone) directive(line string) error {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), ";!")
	if !ok {
		return nil
	}
	words := strings.Fields(line)
	if len(words) < 2 {
		return fmt.Errorf("directive %q has no name", line)
	}
	name, err := wireName(words[1])
	if err != nil {
		return fmt.Errorf("directive name %q: %w", words[1], err)
	}
	types, err := parseTypes(words[2:])
	if err != nil {
		return err
	}
	switch what := words[0]; what {
	case "servfail", "refused", "timeout", "truncate":
		z.faults[name] = append(z.faults[name], fault{what, types})
	case "secure", "insecure":
		if len(types) > 0 {
			return fmt.Errorf("directive %s takes no type", what)
		}
		z.secure[name] = what == "secure"
	default:
		return fmt.Errorf("unknown directive %q", what)
	}
	return nil
}

func parseTypes(words []string) ([]uint16, error) {
	var types []uint16
	for _, w := range words {
		t, ok := dns.StringToType[strings.ToUpper(w)]
		if !ok {
			return nil, fmt.Errorf("unknown record type %q", w)
		}
		types = append(types, t)
	}
	return types, nil
}

func (z *Zone) read(text []byte) error {
	p := dns.NewZoneParser(bytes.NewReader(text), ".", "")
	p.SetDefaultTTL(zoneTTL)
	records, scratch := 0, make([]byte, dns.MaxMsgSize)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if records++; records > maxZoneRecords {
			return fmt.Errorf("more than %d records", maxZoneRecords)
		}
		if err := z.add(rr, scratch); err != nil {
			return err
		}
	}
	return p.Err()
}

// add stores a record the way it would look to one who receives it: what
// cannot be put into a message is refused here rather than when it is asked.
// buf is scratch space, large enough for any message.
func (z *Zone) add(rr dns.RR, buf []byte) error {
	owner := rr.Header().Name
	if owner == "" {
		return fmt.Errorf("record %q has no name, and there is none above it", strings.TrimSpace(rr.String()))
	}
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return fmt.Errorf("record %q: %w", rr.String(), err)
	}
	rr, _, err = dns.UnpackRR(buf[:n], 0) // shares nothing with buf
	if err != nil {
		return fmt.Errorf("record of %q: %w", owner, err)
	}
	h := rr.Header()
	if h.Class != dns.ClassINET {
		return fmt.Errorf("record %q is not of class IN", rr.String())
	}
	if h.Rdlength == 0 || nameless(rr) {
		return fmt.Errorf("record of %q has no data", owner)
	}
	h.Name = dns.CanonicalName(h.Name)
	at := z.nodes[h.Name]
	if at == nil {
		at = node{}
		z.nodes[h.Name] = at
	}
	at[h.Rrtype] = append(at[h.Rrtype], rr)
	if aliases := at[dns.TypeCNAME]; len(aliases) > 1 || len(aliases) == 1 && len(at) > 1 {
		return fmt.Errorf("%q has a CNAME and other records", h.Name)
	}
	for name, ok := parent(h.Name); ok; name, ok = parent(name) {
		if z.nodes[name] != nil {
			break // so are all above it
		}
		z.nodes[name] = node{}
	}
	return nil
}

// nameless finds records that lack the name they are there for; the parser lets
// them through.
func nameless(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.MX:
		return rr.Mx == ""
	case *dns.CNAME:
		return rr.Target == ""
	case *dns.PTR:
		return rr.Ptr == ""
	case *dns.NS:
		return rr.Ns == ""
	case *dns.SOA:
		return rr.Ns == "" || rr.Mbox == ""
	}
	return false
}

// parent is the name without its first label; false for the root.
func parent(name string) (string, bool) {
	if name == "." {
		return "", false
	}
	i, end := dns.NextLabel(name, 0)
	if end {
		return ".", true
	}
	return name[i:], true
}

// find returns the records that stand for name: its own, or those of the
// wildcard below the closest name that exists (RFC 4592 section 3.3.1). False
// means that the name does not exist.
func (z *Zone) find(name string) (node, bool) {
	if n, ok := z.nodes[name]; ok {
		return n, true
	}
	for above, ok := parent(name); ok; above, ok = parent(above) {
		if _, exists := z.nodes[above]; exists {
			n, ok := z.nodes[strings.TrimSuffix("*."+above, ".")+"."]
			return n, ok
		}
	}
	return nil, false
}

// Names are the names in the zone that have records, sorted.
func (z *Zone) Names() []string {
	var names []string
	for name, n := range z.nodes {
		if len(n) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fault is the directive that applies to a question, "" if none does.
func (z *Zone) fault(name string, qtype uint16) string {
	for _, f := range z.faults[name] {
		if len(f.types) == 0 {
			return f.what
		}
		for _, t := range f.types {
			if t == qtype {
				return f.what
			}
		}
	}
	return ""
}

func (z *Zone) isSecure(name string) bool {
	for ok := true; ok; name, ok = parent(name) {
		if secure, said := z.secure[name]; said {
			return secure
		}
	}
	return false
}

// authority gives the SOA of the zone that name is in, if the text has one.
func (z *Zone) authority(name string) []dns.RR {
	for ok := true; ok; name, ok = parent(name) {
		if soa := z.nodes[name][dns.TypeSOA]; len(soa) > 0 {
			return soa
		}
	}
	return nil
}

// Reply answers q as a recursive server would that knows just this zone. With
// stream the answer may be 64 kB long; without, it is cut to what the asker can
// take in a datagram (512 bytes, or what its EDNS0 says). Nil means that no
// answer is to be given. The result shares nothing with the zone.
func (z *Zone) Reply(q *dns.Msg, stream bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	size, dnssec := dns.MinMsgSize, q.AuthenticatedData
	if opt := q.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		dnssec = dnssec || opt.Do()
		m.SetEdns0(ednsSize, opt.Do())
	}
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		m.Rcode = dns.RcodeFormatError
		return m
	}
	if q.Question[0].Qclass != dns.ClassINET {
		m.Rcode = dns.RcodeRefused
		return m
	}
	if !z.answer(m, stream) {
		return nil
	}
	m.AuthenticatedData = m.AuthenticatedData && dnssec
	if stream {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
	return m
}

// answer fills m for its question, following CNAMEs. False: stay silent.
func (z *Zone) answer(m *dns.Msg, stream bool) bool {
	qtype := m.Question[0].Qtype
	name := dns.CanonicalName(m.Question[0].Name)
	m.AuthenticatedData = true
	for range maxZoneHops {
		switch z.fault(name, qtype) {
		case "timeout":
			return false
		case "servfail":
			return fail(m, dns.RcodeServerFailure)
		case "refused":
			return fail(m, dns.RcodeRefused)
		case "truncate":
			if !stream {
				fail(m, dns.RcodeSuccess)
				m.Truncated = true
				return true
			}
		}
		m.AuthenticatedData = m.AuthenticatedData && z.isSecure(name)
		at, exists := z.find(name)
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		if rrs := at[qtype]; len(rrs) > 0 {
			m.Answer = append(m.Answer, under(name, rrs)...)
			return true
		}
		aliases := at[dns.TypeCNAME]
		if len(aliases) == 0 {
			m.Ns = under("", z.authority(name))
			return true
		}
		m.Answer = append(m.Answer, under(name, aliases)...)
		name = dns.CanonicalName(aliases[0].(*dns.CNAME).Target)
	}
	return true
}

func fail(m *dns.Msg, rcode int) bool {
	m.Rcode, m.Answer, m.AuthenticatedData = rcode, nil, false
	return true
}

// under copies records, giving them owner name name unless it is empty, which
// is how a wildcard's records come to stand at the name asked.
func under(name string, rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
		if name != "" {
			out[i].Header().Name = name
		}
	}
	return out
}

// zoneSource answers from a zone in place of servers.
type zoneSource struct {
	zone *Zone
	file string
}

func (s zoneSource) exchange(ctx context.Context, name string, qtype uint16) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, failed(err, s.file, name, qtype)
	}
	q := question(name, qtype, true)
	m := s.zone.Reply(q, true)
	if m == nil {
		return reply{}, failed(context.DeadlineExceeded, s.file, name, qtype)
	}
	raw, err := m.Pack()
	if err == nil {
		m, err = fitting(raw, q)
	}
	if err == nil {
		err = verdict(m)
	}
	if err != nil {
		return reply{}, failed(err, s.file, name, qtype)
	}
	return reply{m, s.file, true}, nil
}
