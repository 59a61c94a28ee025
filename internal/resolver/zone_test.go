package resolver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const testZone = `
$TTL 600
example.org.        SOA  ns.example.org. hostmaster.example.org. 1 2 3 4 60
example.org.        MX   10 mx1.example.org.
example.org.        MX   5  MX2.Example.ORG.
mx1.example.org.    A    192.0.2.1
mx2.example.org.    A    192.0.2.2
mx2.example.org.    AAAA 2001:db8::2
www.example.org.    CNAME web.example.org.
web.example.org.    A    192.0.2.80
gone.example.org.   CNAME nowhere.example.org.
away.example.org.   CNAME web.example.net.
a.b.c.example.org.  TXT  "deep"
*.wild.example.org. MX   1 mx1.example.org.
x.wild.example.org. TXT  "not wild"
*.alias.example.org. CNAME web.example.org.
loop1.example.org.  CNAME loop2.example.org.
loop2.example.org.  CNAME loop1.example.org.
self.example.org.   CNAME self.example.org.
null.example.org.   MX   0 .
text.example.org.   TXT  "v=spf1 " "include:\"x\\y\" \195\188" "-all"
web.example.net.    A    198.51.100.80
1.2.0.192.in-addr.arpa. PTR mx1.example.org.
1.2.0.192.in-addr.arpa. PTR Other.example.
_25._tcp.mx1.example.org. TLSA 3 1 1 ( 00112233445566778899aabbccddeeff
                                       00112233445566778899aabbccddeeff )
;! servfail bad.example.org MX
;! refused  closed.example.org.
;! timeout  silent.example.org
;! truncate mx2.example.org A
;! secure   example.org
;! insecure wild.example.org
;! servfail broken.example.net
to-broken.example.org. CNAME broken.example.net.
bad.example.org.    TXT "fine"
`

func mustParse(t testing.TB, text string) *Zone {
	t.Helper()
	z, err := ParseZone(strings.NewReader(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// summary is a reply in one line: code, flags, answer and authority.
func summary(m *dns.Msg) string {
	if m == nil {
		return "silence"
	}
	parts := []string{dns.RcodeToString[m.Rcode]}
	if m.Truncated {
		parts = append(parts, "TC")
	}
	if m.AuthenticatedData {
		parts = append(parts, "AD")
	}
	for _, rr := range m.Answer {
		parts = append(parts, strings.Join(strings.Fields(rr.String())[:1], "")+" "+dns.TypeToString[rr.Header().Rrtype])
	}
	for _, rr := range m.Ns {
		parts = append(parts, "("+rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype]+")")
	}
	return strings.Join(parts, " ")
}

func TestZoneReply(t *testing.T) {
	z := mustParse(t, testZone)
	for _, tt := range []struct {
		name   string
		qtype  uint16
		stream bool
		want   string
	}{
		{"example.org.", dns.TypeMX, false, "NOERROR AD example.org. MX example.org. MX"},
		{"EXAMPLE.Org.", dns.TypeMX, false, "NOERROR AD example.org. MX example.org. MX"},
		{"example.org.", dns.TypeA, false, "NOERROR AD (example.org. SOA)"},
		{"nothing.example.org.", dns.TypeA, false, "NXDOMAIN AD (example.org. SOA)"},
		{"example.com.", dns.TypeA, false, "NXDOMAIN"},
		{".", dns.TypeMX, false, "NOERROR"},
		{"b.c.example.org.", dns.TypeTXT, false, "NOERROR AD (example.org. SOA)"},
		{"x.b.c.example.org.", dns.TypeTXT, false, "NXDOMAIN AD (example.org. SOA)"},
		{"www.example.org.", dns.TypeA, false, "NOERROR AD www.example.org. CNAME web.example.org. A"},
		{"www.example.org.", dns.TypeCNAME, false, "NOERROR AD www.example.org. CNAME"},
		{"www.example.org.", dns.TypeMX, false, "NOERROR AD www.example.org. CNAME (example.org. SOA)"},
		{"gone.example.org.", dns.TypeA, false, "NXDOMAIN AD gone.example.org. CNAME (example.org. SOA)"},
		{"away.example.org.", dns.TypeA, false, "NOERROR away.example.org. CNAME web.example.net. A"},
		{"any.wild.example.org.", dns.TypeMX, false, "NOERROR any.wild.example.org. MX"},
		{"a.b.wild.example.org.", dns.TypeMX, false, "NOERROR a.b.wild.example.org. MX"},
		{"any.wild.example.org.", dns.TypeTXT, false, "NOERROR (example.org. SOA)"},
		{"x.wild.example.org.", dns.TypeMX, false, "NOERROR (example.org. SOA)"},
		{"y.x.wild.example.org.", dns.TypeMX, false, "NXDOMAIN (example.org. SOA)"},
		{"wild.example.org.", dns.TypeMX, false, "NOERROR (example.org. SOA)"},
		{"q.alias.example.org.", dns.TypeA, false, "NOERROR AD q.alias.example.org. CNAME web.example.org. A"},
		{"bad.example.org.", dns.TypeMX, false, "SERVFAIL"},
		{"bad.example.org.", dns.TypeTXT, false, "NOERROR AD bad.example.org. TXT"},
		{"to-broken.example.org.", dns.TypeA, false, "SERVFAIL"},
		{"closed.example.org.", dns.TypeA, true, "REFUSED"},
		{"silent.example.org.", dns.TypeA, false, "silence"},
		{"silent.example.org.", dns.TypeA, true, "silence"},
		{"mx2.example.org.", dns.TypeA, false, "NOERROR TC"},
		{"mx2.example.org.", dns.TypeA, true, "NOERROR AD mx2.example.org. A"},
		{"mx2.example.org.", dns.TypeAAAA, false, "NOERROR AD mx2.example.org. AAAA"},
	} {
		t.Run(tt.name+dns.TypeToString[tt.qtype], func(t *testing.T) {
			if got := summary(z.Reply(question(tt.name, tt.qtype, true), tt.stream)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestZoneReplyFlags(t *testing.T) {
	z := mustParse(t, testZone)
	plain := new(dns.Msg).SetQuestion("example.org.", dns.TypeMX)
	if m := z.Reply(plain, false); m.AuthenticatedData || m.IsEdns0() != nil || !m.RecursionAvailable || m.Id != plain.Id {
		t.Errorf("reply to a plain question: %v", m)
	}
	chaos := question("example.org.", dns.TypeMX, true)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	if got := summary(z.Reply(chaos, false)); got != "REFUSED" {
		t.Errorf("other class: got %s", got)
	}
	notify := question("example.org.", dns.TypeMX, false)
	notify.Opcode = dns.OpcodeNotify
	if got := summary(z.Reply(notify, false)); got != "FORMERR" {
		t.Errorf("other opcode: got %s", got)
	}
	if got := summary(z.Reply(new(dns.Msg), false)); got != "FORMERR" {
		t.Errorf("no question: got %s", got)
	}
}

func TestZoneReplySize(t *testing.T) {
	var text strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "big.example. TXT \"%03d %s\"\n", i, strings.Repeat("x", 50))
	}
	z := mustParse(t, text.String())
	for _, tt := range []struct {
		edns, stream bool
		limit        int
		truncated    bool
	}{
		{false, false, dns.MinMsgSize, true},
		{true, false, ednsSize, true},
		{true, true, dns.MaxMsgSize, false},
	} {
		m := z.Reply(question("big.example.", dns.TypeTXT, tt.edns), tt.stream)
		raw, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > tt.limit || m.Truncated != tt.truncated {
			t.Errorf("edns %v stream %v: %d bytes, truncated %v; want at most %d, %v", tt.edns, tt.stream, len(raw), m.Truncated, tt.limit, tt.truncated)
		}
	}
}

func TestParseZoneRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"bad record", "example.org. MX ten mx.example.org.", "bad MX Pref"},
		{"unknown type", "example.org. MXX 10 mx.example.org.", "line: 1"},
		{"include", "$INCLUDE /etc/passwd", "INCLUDE"},
		{"long label", strings.Repeat("a", 64) + ".org. A 192.0.2.1", "bad owner name"},
		{"cname and other", "a.org. CNAME b.org.\na.org. A 192.0.2.1", "CNAME and other"},
		{"two cnames", "a.org. CNAME b.org.\na.org. CNAME c.org.", "CNAME and other"},
		{"no owner", " TXT x", "has no name"},
		{"no data", "a.org. MX ", "has no data"},
		{"other class", "a.org. CH TXT x", "class IN"},
		{"unknown directive", ";! explode a.org", "unknown directive \"explode\""},
		{"no name", "\n;! servfail", "line 2: directive"},
		{"bad name", ";! servfail a..org", "directive name"},
		{"bad type", ";! servfail a.org MXX", "unknown record type"},
		{"type at secure", ";! secure a.org MX", "takes no type"},
		{"too many", "$GENERATE 1-60000 a$.x. A 192.0.2.1", "more than 50000 records"},
		{"too long", strings.Repeat(";", maxZoneBytes+1), "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseZone(strings.NewReader(tt.text), "test")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestLoadZoneMissing(t *testing.T) {
	if _, err := New(Options{ZoneFile: t.TempDir() + "/none"}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// served are the types that the resolver asks for or looks at.
var served = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypePTR, dns.TypeTLSA, dns.TypeCNAME, dns.TypeSOA, dns.TypeNS,
}

// FuzzZone: what can be read can be asked for and printed: every record of the
// zone comes back through a packed message, and the zone printed as text reads
// as the same zone.
func FuzzZone(f *testing.F) {
	f.Add(testZone)
	f.Add("$ORIGIN a.\n@ 3600 IN MX 10 m\nm A 192.0.2.1\n* TXT \"x\"\n")
	f.Add("$GENERATE 1-3 h$.x. A 192.0.2.$\n;! timeout a\n")
	f.Add("a\\.b\\032c.x. TXT \"\\000\\255\"")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Contains(strings.ToUpper(text), "$GENERATE") {
			t.Skip("a short text can ask for much")
		}
		z, err := ParseZone(strings.NewReader(text), "test")
		if err != nil {
			return
		}
		z.faults = nil
		printed := z.records()
		for name, at := range z.nodes {
			for qtype, rrs := range at {
				checkAnswer(t, z, name, qtype, rrs)
			}
		}
		again, err := ParseZone(strings.NewReader(strings.Join(printed, "\n")), "printed")
		if err != nil {
			t.Fatalf("printed zone does not parse: %v\n%q", err, printed)
		}
		if got := again.records(); !slices.Equal(got, printed) {
			t.Errorf("printed zone reads as\n%q, want\n%q", got, printed)
		}
	})
}

// records prints all records of the types we serve, sorted.
func (z *Zone) records() []string {
	var out []string
	for _, at := range z.nodes {
		for qtype, rrs := range at {
			if !slices.Contains(served, qtype) {
				continue
			}
			for _, rr := range rrs {
				out = append(out, rr.String())
			}
		}
	}
	slices.Sort(out)
	return out
}

func checkAnswer(t *testing.T, z *Zone, name string, qtype uint16, want []dns.RR) {
	t.Helper()
	q := question(name, qtype, true)
	m := z.Reply(q, true)
	raw, err := m.Pack()
	if err != nil {
		t.Fatalf("%s %d: %v", name, qtype, err)
	}
	got, err := fitting(raw, q)
	if err != nil {
		t.Fatalf("%s %d: %v", name, qtype, err)
	}
	if got.Truncated {
		return // more than 64 kB under one name
	}
	if rrs := recordsAt(got.Answer, name, qtype); len(rrs) != len(want) {
		t.Errorf("%s %d: got %d records, want %d", name, qtype, len(rrs), len(want))
	}
}
