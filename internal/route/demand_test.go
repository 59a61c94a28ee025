package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

const sum256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var policyZone = strings.ReplaceAll(`
;! secure   sec.example
;! insecure plain.sec.example
sec.example.         MX 10 mx.sec.example.
mx.sec.example.      A  192.0.2.1
_25._tcp.mx.sec.example. TLSA 3 1 1 SUM
next.sec.example.    CNAME sec.example.
none.sec.example.    MX 10 bare.sec.example.
bare.sec.example.    A 192.0.2.2
pkix.sec.example.    MX 10 mxp.sec.example.
mxp.sec.example.     A 192.0.2.3
_25._tcp.mxp.sec.example. TLSA 1 1 1 SUM
host.sec.example.    A 192.0.2.4
_25._tcp.host.sec.example. TLSA 3 1 1 SUM
_587._tcp.host.sec.example. TLSA 2 0 1 SUM
out.sec.example.     MX 10 mx.open.example.
mx.open.example.     A 192.0.2.5
_25._tcp.mx.open.example. TLSA 3 1 1 SUM
open.example.        MX 10 mx.sec.example.
part.sec.example.    MX 10 mx.plain.sec.example.
mx.plain.sec.example. A 192.0.2.6
_25._tcp.mx.plain.sec.example. TLSA 3 1 1 SUM
dark.sec.example.    MX 10 mxd.sec.example.
dark.sec.example.    MX 20 mx.sec.example.
mxd.sec.example.     A 192.0.2.7
;! servfail _25._tcp.mxd.sec.example TLSA
dusk.sec.example.    MX 10 mxd.sec.example.
cn.sec.example.      MX 10 alias.sec.example.
alias.sec.example.   CNAME mx.sec.example.
cnbare.sec.example.  MX 10 aliasbare.sec.example.
aliasbare.sec.example. CNAME bare.sec.example.
_25._tcp.aliasbare.sec.example. TLSA 3 1 1 SUM
cnout.sec.example.   MX 10 aliasout.sec.example.
aliasout.sec.example. CNAME mx.open.example.
_25._tcp.aliasout.sec.example. TLSA 3 1 1 SUM
cnopen.sec.example.  MX 10 alias.plain.sec.example.
alias.plain.sec.example. CNAME mx.sec.example.
imp.sec.example.     CNAME host.sec.example.
impbare.sec.example. CNAME bare.sec.example.
_25._tcp.impbare.sec.example. TLSA 3 1 1 SUM
impout.sec.example.  CNAME web.open.example.
_25._tcp.impout.sec.example. TLSA 3 1 1 SUM
web.open.example.    A 192.0.2.9
impopen.open.example. CNAME host.sec.example.
sub.sec.example.     MX 10 short.sec.example.
short.sec.example.   A 192.0.2.8
_25._tcp.short.sec.example. TLSA 3 1 1 00
`, "SUM", sum256)

// showDemands prints what becomes of each host in one line.
func showDemands(p *Plan, err error) string {
	var parts []string
	for _, t := range p.Targets {
		s := t.Host + " " + string(t.TLS)
		if t.DANE != nil {
			s += fmt.Sprintf("%v", t.DANE.Names)
		}
		for _, f := range t.Flags {
			s += " +" + string(f)
		}
		parts = append(parts, s)
	}
	if err != nil {
		parts = append(parts, fmt.Sprintf("exit %d", status.Of(err).Exit))
	}
	return strings.Join(parts, ", ")
}

func TestDANE(t *testing.T) {
	server, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, policyZone)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ domain, want string }{
		{"sec.example", "mx.sec.example dane[mx.sec.example sec.example]"},
		{"next.sec.example", "mx.sec.example dane[mx.sec.example next.sec.example sec.example]"},
		{"none.sec.example", "bare.sec.example opportunistic"},
		{"pkix.sec.example", "mxp.sec.example required"},
		{"sub.sec.example", "short.sec.example required"},
		{"host.sec.example", "host.sec.example dane[host.sec.example]"},
		{"host.sec.example:587", "host.sec.example dane[host.sec.example]"},
		{"host.sec.example:26", "host.sec.example opportunistic"},
		{"out.sec.example", "mx.open.example opportunistic"},
		{"open.example", "mx.sec.example opportunistic"},
		{"part.sec.example", "mx.plain.sec.example opportunistic"},
		{"dark.sec.example", "mxd.sec.example refused, mx.sec.example dane[mx.sec.example dark.sec.example]"},
		{"dusk.sec.example", "mxd.sec.example refused, exit 75"},
		{"cn.sec.example", "alias.sec.example dane[mx.sec.example cn.sec.example] +cname"},
		{"cnbare.sec.example", "aliasbare.sec.example dane[aliasbare.sec.example cnbare.sec.example] +cname"},
		{"cnout.sec.example", "aliasout.sec.example dane[aliasout.sec.example cnout.sec.example] +cname"},
		{"cnopen.sec.example", "alias.plain.sec.example opportunistic +cname"},
		{"imp.sec.example", "host.sec.example dane[host.sec.example imp.sec.example]"},
		{"impbare.sec.example", "bare.sec.example dane[impbare.sec.example bare.sec.example]"},
		{"impout.sec.example", "web.open.example dane[impout.sec.example web.open.example]"},
		{"impopen.open.example", "host.sec.example opportunistic"},
		{"[192.0.2.1]", "[192.0.2.1] opportunistic"},
		{"[alias.sec.example]", "alias.sec.example dane[mx.sec.example alias.sec.example]"},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			for _, r := range []*resolver.Resolver{server, mailtest.Zone(t, policyZone)} {
				if got := showDemands(Find(context.Background(), r, tt.domain, Options{Policy: true})); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}

// TestFromRecordToHandshake: the records that the DNS gives verify the server
// they were made for, also after a way through the table, and no other.
func TestFromRecordToHandshake(t *testing.T) {
	later := time.Now().Add(time.Hour)
	authority := issue(t, nil, later)
	mx := issue(t, authority, later, "mx.sec.example")
	next := issue(t, authority, later, "elsewhere.example")
	for _, r := range []resolver.TLSA{record(3, 1, 1, mx.cert), record(2, 0, 2, authority.cert), record(2, 0, 0, authority.cert)} {
		zone := fmt.Sprintf(";! secure sec.example\nsec.example. MX 10 mx.sec.example.\nmx.sec.example. A 127.0.0.1\n_25._tcp.mx.sec.example. TLSA %v\n", r)
		dns, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, zone)})
		if err != nil {
			t.Fatal(err)
		}
		p, err := Find(context.Background(), dns, "sec.example", Options{Policy: true})
		if err != nil {
			t.Fatal(err)
		}
		table, err := ReadRoutes(strings.NewReader(written(t, []Routes{p.Routes()})))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []*DANE{p.Targets[0].DANE, table[0].Targets[0].DANE} {
			if err := d.Verify(handshake(t, mx, authority)); err != nil {
				t.Errorf("%.20s: %v", r, err)
			}
			if err := d.Verify(handshake(t, next, authority)); err == nil {
				t.Errorf("%.20s: another server is verified", r)
			}
		}
	}
}

// said is a PolicySource that knows one answer.
type said struct {
	policy *Policy
	err    error
}

func (s said) Policy(context.Context, string) (*Policy, error) { return s.policy, s.err }

func TestMTASTS(t *testing.T) {
	r := mailtest.Zone(t, policyZone+`
two.example.    MX 10 a.two.example.
two.example.    MX 20 b.other.example.
a.two.example.  A 192.0.2.10
b.other.example. A 192.0.2.11
_smtp._tls.two.example. TXT "v=TLSRPTv1; rua=mailto:tls@two.example"
`)
	policy := func(mode Mode, mx ...string) said { return said{policy: &Policy{Mode: mode, MX: mx}} }
	for _, tt := range []struct {
		name, domain string
		source       said
		want         string
	}{
		{"none", "two.example", said{}, "a.two.example opportunistic, b.other.example opportunistic"},
		{"trouble", "two.example", said{err: errors.New("no")}, "a.two.example opportunistic, b.other.example opportunistic"},
		{"enforce", "two.example", policy(ModeEnforce, "*.two.example"), "a.two.example sts, b.other.example refused"},
		{"kept one", "two.example", said{&Policy{Mode: ModeEnforce, MX: []string{"b.other.example"}}, errors.New("no")}, "a.two.example refused, b.other.example sts"},
		{"nothing left", "two.example", policy(ModeEnforce, "mx.example"), "a.two.example refused, b.other.example refused, exit 76"},
		{"testing", "two.example", policy(ModeTesting, "mx.example"), "a.two.example opportunistic, b.other.example opportunistic"},
		{"mode none", "two.example", policy(ModeNone), "a.two.example opportunistic, b.other.example opportunistic"},
		{"DANE wins", "sec.example", policy(ModeEnforce, "mx.example"), "mx.sec.example dane[mx.sec.example sec.example]"},
		{"stronger than unusable TLSA", "pkix.sec.example", policy(ModeEnforce, "*.sec.example"), "mxp.sec.example sts"},
		{"not past a failed TLSA look-up", "dusk.sec.example", policy(ModeEnforce, "*.sec.example"), "mxd.sec.example refused, exit 75"},
		{"not for a host", "[a.two.example]", policy(ModeEnforce, "mx.example"), "a.two.example opportunistic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Find(context.Background(), r, tt.domain, Options{Policy: true, Explain: true, STS: tt.source})
			if got := showDemands(p, err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if tt.domain == "two.example" && (p.Report == nil || p.Report.To[0] != "mailto:tls@two.example") {
				t.Errorf("report: %+v", p.Report)
			}
			if len(p.Reasons) < 2 {
				t.Errorf("reasons: %q", p.Reasons)
			}
		})
	}
}

func TestFlagsAndOurselves(t *testing.T) {
	r := mailtest.Zone(t, `
d.example.  MX 10 a.example.
d.example.  MX 20 b.example.
d.example.  MX 20 c.example.
d.example.  MX 30 e.example.
a.example.  A 192.0.2.1
b.example.  A 10.0.0.1
c.example.  A 127.0.0.1
e.example.  A 192.0.2.4
bad.example. MX 10 192.0.2.1.
bad.example. MX 20 gone.example.
bad.example. MX 30 a.example.
loop.example. MX 10 a.example.
loop.example. MX 20 b.example.
`)
	own := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		domain  string
		options Options
		want    string
	}{
		{"d.example", Options{}, "a.example opportunistic, b.example opportunistic +private, c.example opportunistic +loopback, e.example opportunistic"},
		{"d.example", Options{OwnNames: []string{"b.example"}}, "a.example opportunistic, b.example refused +own +private, c.example refused +loopback, e.example refused"},
		{"d.example", Options{OwnAddresses: []netip.Addr{own}}, "a.example refused +own, b.example refused +private, c.example refused +loopback, e.example refused, exit 68"},
		{"bad.example", Options{}, "192.0.2.1 refused +literal, gone.example refused +no-address, a.example opportunistic"},
		{"[192.0.2.1]", Options{OwnAddresses: []netip.Addr{own}}, "[192.0.2.1] refused +own, exit 68"},
	} {
		tt.options.Seed = 2
		p, err := Find(context.Background(), r, tt.domain, tt.options)
		if got := showDemands(p, err); got != tt.want {
			t.Errorf("%s: got  %s\nwant %s", tt.domain, got, tt.want)
		}
		if err != nil && !errors.Is(err, ErrOwn) {
			t.Errorf("%s: got %v", tt.domain, err)
		}
	}
}

func TestSortAddresses(t *testing.T) {
	sources := func(v4, v6 string) func(netip.Addr) netip.Addr {
		return func(to netip.Addr) netip.Addr {
			from := v6
			if to.Is4() {
				from = v4
			}
			ip, _ := netip.ParseAddr(from)
			return ip
		}
	}
	for _, tt := range []struct{ name, in, v4, v6, want string }{
		{"both families", "198.51.100.1 2001:db8:1::1", "192.0.2.9", "2001:db8::9", "2001:db8:1::1 198.51.100.1"},
		{"no IPv6 here", "2001:db8:1::1 198.51.100.1", "192.0.2.9", "", "198.51.100.1 2001:db8:1::1"},
		{"no way at all", "2001:db8:1::1 198.51.100.1", "", "", "2001:db8:1::1 198.51.100.1"},
		{"own 6to4 against IPv4", "2001:db8:1::1 198.51.100.1", "192.0.2.9", "2002:c000:201::9", "198.51.100.1 2001:db8:1::1"},
		{"unique local source", "2001:db8:1::1 198.51.100.1", "192.0.2.9", "fd00::9", "198.51.100.1 2001:db8:1::1"},
		{"longest prefix", "2001:db8:f::1 2001:db8:1::1", "", "2001:db8:1::9", "2001:db8:1::1 2001:db8:f::1"},
		{"IPv4 as it came", "198.51.100.1 192.0.2.1", "192.0.2.9", "", "198.51.100.1 192.0.2.1"},
		{"link-local source", "2001:db8::1 fe80::1", "", "fe80::9", "fe80::1 2001:db8::1"},
	} {
		var in []netip.Addr
		for s := range strings.FieldsSeq(tt.in) {
			in = append(in, netip.MustParseAddr(s))
		}
		got := strings.Trim(fmt.Sprint(sortAddresses(in, sources(tt.v4, tt.v6))), "[]")
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
