package spf_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	other "blitiri.com.ar/go/spf"

	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
	"pennypost/internal/spf"
)

// netDNS is a resolver as package net has it, which is what the other implementation asks. It knows only bare
// *net.DNSError.
type netDNS struct{ *resolver.Resolver }

func bareError(err error) error {
	var d *net.DNSError
	if errors.As(err, &d) {
		return d
	}
	return err
}

func (d netDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := d.TXT(ctx, name)
	return a.Records, bareError(err)
}

func (d netDNS) LookupMX(ctx context.Context, name string) (mxs []*net.MX, err error) {
	a, err := d.MX(ctx, name)
	for _, mx := range a.Records {
		mxs = append(mxs, &net.MX{Host: mx.Host, Pref: mx.Preference})
	}
	return mxs, bareError(err)
}

func (d netDNS) LookupIPAddr(ctx context.Context, host string) (ips []net.IPAddr, err error) {
	a, err := d.Addresses(ctx, host, true, true)
	for _, ip := range a.Records {
		ips = append(ips, net.IPAddr{IP: ip.AsSlice()})
	}
	return ips, bareError(err)
}

func (d netDNS) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	a, err := d.PTR(ctx, ip)
	return a.Records, bareError(err)
}

func ask(t *testing.T, q spf.Query, dns *resolver.Resolver) string {
	t.Helper()
	sender := q.Sender
	if sender == "" {
		sender = "postmaster@" + q.Helo
	}
	r, _ := other.CheckHostWithSender(q.IP.Unmap().AsSlice(), q.Helo, sender, other.WithResolver(netDNS{dns}))
	return string(r)
}

// differences are the tests of the suite of RFC 7208 on which the other implementation differs. The suite says each time
// that it is wrong.
var differences = map[string]string{
	"sees no errors in what it does not evaluate (RFC 7208 section 4.6)": `control-char-policy detect-errors-anywhere
		exp-empty-domain exp-only-macro-char exp-syntax-error exp-twice non-ascii-policy redirect-empty-domain
		redirect-syntax-error unknown-modifier-syntax`,
	"asks for domains that no domain-spec can be (section 7.1)": `a-bad-domain a-bad-toplabel a-null a-numeric a-numeric-toplabel
		a-only-toplabel a-only-toplabel-trailing-dot invalid-domain mx-bad-domain mx-bad-toplab mx-null mx-numeric-top-label`,
	"takes an address of the other family, or a length with a leading zero (section 5.6)": `bare-ip6 cidr4-032`,
	"takes a modifier with a colon for an unknown one (section 4.6.1)":                    `redirect-is-modifier`,
	"ends a domain at its first slash (section 7.1)": `a-colon-domain a-colon-domain-ip4mapped mx-colon-domain
		mx-colon-domain-ip4mapped`,
	"does not expand %{p} (section 7.2)": `p-macro-multiple`,
}

// TestSecondOpinionOnSuite asks another implementation as well: it agrees but where it is known not to.
func TestSecondOpinionOnSuite(t *testing.T) {
	known := map[string]string{}
	for why, names := range differences {
		for _, name := range strings.Fields(names) {
			known[name] = why
		}
	}
	for _, s := range readSuite(t, filepath.Join(mailtest.Corpus(t, "spf"), "rfc7208-tests.yml")) {
		dns := suiteDNS(t, s)
		for name, test := range s.Tests {
			q := test.query(t)
			ours, theirs := string(spf.Evaluate(context.Background(), q, spf.Options{Resolver: dns}).Result), ask(t, q, dns)
			if same := ours == theirs; same == (known[name] != "") {
				t.Errorf("%s: ours is %s, theirs %s; listed: %q", name, ours, theirs, known[name])
			}
		}
	}
}

// TestOtherSuites runs the tests that come with the other implementation and are not from a standard. Of a domain of one
// label, which many of them have, RFC 7208 section 4.3 wants none.
func TestOtherSuites(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "blitiri.com.ar/go/spf").Output()
	if err != nil || len(bytes.TrimSpace(dir)) == 0 {
		t.Skip("the sources of blitiri.com.ar/go/spf are not here")
	}
	for file, wrong := range map[string]map[string]string{
		"blitirispf-tests.yml": {"resolution-with-10-lookups": "includes a domain of one label, which is an error (section 7.1)"},
		"pyspf-tests.yml": {
			"default-modifier":       "default= means nothing (section 6, and the suite of RFC 7208)",
			"default-modifier-harsh": "the same",
		},
	} {
		tests := 0
		for _, s := range readSuite(t, filepath.Join(string(bytes.TrimSpace(dir)), "testdata", file)) {
			dns := suiteDNS(t, s)
			for name, test := range s.Tests {
				tests++
				r := spf.Evaluate(context.Background(), test.query(t), spf.Options{Resolver: dns})
				_, domain, _ := strings.Cut(test.MailFrom, "@")
				if domain != "" && !strings.Contains(domain, ".") {
					test.Result = oneOf{"none"}
				}
				if right := slices.Contains(test.Result, string(r.Result)); right == (wrong[name] != "") {
					t.Errorf("%s: %s: got %s (%s), want %s; listed: %q", file, name, r.Result, r.Reason, test.Result, wrong[name])
				}
			}
		}
		if want := map[string]int{"blitirispf-tests.yml": 83, "pyspf-tests.yml": 16}[file]; tests != want {
			t.Errorf("%s: %d tests, want %d", file, tests, want)
		}
	}
}

const opinionZone = `
d1.example. A 192.0.2.1
d1.example. AAAA 2001:db8::1
d2.example. A 192.0.2.2
d3.example. MX 1 d1.example.
d3.example. MX 2 d2.example.
pass.example. TXT "v=spf1 ip4:192.0.2.0/30 ip6:2001:db8::/64 -all"
soft.example. TXT "v=spf1 a:d2.example mx:d3.example ~all"
deep.example. TXT "v=spf1 include:soft.example include:pass.example ?all"
none.example. TXT "nothing"
two.example. TXT "v=spf1 -all"
two.example. TXT "v=spf1 +all"
*.list.example. A 127.0.0.2
1.2.0.192.in-addr.arpa. PTR d1.example.
9.2.0.192.in-addr.arpa. PTR d2.example.
;! servfail broken.example.
`

// TestSecondOpinionOnRandomRecords compares records that are well formed and not long.
func TestSecondOpinionOnRandomRecords(t *testing.T) {
	terms := strings.Fields(`all a:d1.example a:d2.example/30 a:d1.example//64 a:d2.example/24//48 a:gone.example mx:d3.example
		mx:d3.example//112 mx:d1.example include:pass.example include:soft.example include:deep.example include:none.example
		include:two.example include:broken.example exists:%{i}.list.example exists:%{l}.gone.example exists:%{d2r}.list.example
		ip4:192.0.2.9 ip4:192.0.2.0/24 ip6:2001:db8::9 ip6:2001:db8::/32 ptr:d1.example ptr:d2.example redirect=pass.example
		redirect=deep.example redirect=none.example a mx other=%{d}`)
	var clients []netip.Addr
	for _, a := range strings.Fields("192.0.2.1 192.0.2.2 192.0.2.9 203.0.113.1 2001:db8::1 2001:db8::9 2001:db8:1::1") {
		clients = append(clients, netip.MustParseAddr(a))
	}
	random := rand.New(rand.NewPCG(7, 208))
	results := map[string]int{}
	for range 2000 {
		record, n := "v=spf1", 1+random.IntN(5)
		for range n {
			term := terms[random.IntN(len(terms))]
			if strings.Contains(term, "=") && strings.Contains(record, "redirect=") {
				continue
			}
			if !strings.Contains(term, "=") {
				term = []string{"", "+", "-", "~", "?"}[random.IntN(5)] + term
			}
			record += " " + term
		}
		zone := opinionZone + "x.example. TXT \"" + record + "\"\n"
		dns := mailtest.Zone(t, zone)
		q := spf.Query{IP: clients[random.IntN(len(clients))], Helo: "h.example", Sender: "user@x.example"}
		ours, theirs := string(spf.Evaluate(context.Background(), q, spf.Options{Resolver: dns}).Result), ask(t, q, dns)
		results[ours]++
		if ours != theirs {
			t.Errorf("%s %s: ours is %s, theirs %s", q.IP, record, ours, theirs)
		}
	}
	if len(results) < 6 {
		t.Errorf("results were %v", results)
	}
}
