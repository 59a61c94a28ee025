package spf

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// example is the sender of the examples of RFC 7208 section 7.4, and its addresses.
func example(ip string) *evaluation {
	return &evaluation{
		ip: netip.MustParseAddr(ip), helo: "mail.example.com", local: "strong-bad", domain: "email.example.com",
		receiver: "mx.example.net", now: time.Unix(1700000000, 0), names: &names{},
	}
}

func TestExpand(t *testing.T) {
	for _, c := range []struct{ ip, macro, want string }{
		{"192.0.2.3", "%{s}", "strong-bad@email.example.com"},
		{"192.0.2.3", "%{o}", "email.example.com"},
		{"192.0.2.3", "%{d}", "email.example.com"},
		{"192.0.2.3", "%{d4}", "email.example.com"},
		{"192.0.2.3", "%{d2}", "example.com"},
		{"192.0.2.3", "%{d1}", "com"},
		{"192.0.2.3", "%{dr}", "com.example.email"},
		{"192.0.2.3", "%{d2R}", "example.email"},
		{"192.0.2.3", "%{l}", "strong-bad"},
		{"192.0.2.3", "%{l-}", "strong.bad"},
		{"192.0.2.3", "%{lr}", "strong-bad"},
		{"192.0.2.3", "%{lr-}", "bad.strong"},
		{"192.0.2.3", "%{l1r-}", "strong"},
		{"192.0.2.3", "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
		{"192.0.2.3", "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
		{"192.0.2.3", "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
		{"2001:db8::cb01", "%{ir}.%{v}._spf.%{d2}",
			"1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"},
		{"192.0.2.3", "%{d99999999999999999999}", "email.example.com"},
		{"192.0.2.3", "%{S}", "strong-bad%40email.example.com"},
		{"192.0.2.3", "%{h}%%%_%-", "mail.example.com% %20"},
		{"192.0.2.3", "%{p}", "unknown"},
		{"192.0.2.3", "%{c}", "192.0.2.3"},
		{"2001:db8::1", "%{C}", "2001%3Adb8%3A%3A1"},
		{"192.0.2.3", "%{r} %{t}", "mx.example.net 1700000000"},
		{"192.0.2.3", "%{l+-,/_=}", "strong.bad"},
	} {
		m, err := parseMacros(c.macro, inText)
		if err != nil {
			t.Errorf("%s: %v", c.macro, err)
			continue
		}
		e := example(c.ip)
		if got := e.expand(m, e.domain, nil, maxName); got != c.want {
			t.Errorf("%s: got %q, want %q", c.macro, got, c.want)
		}
	}
}

func TestBadMacros(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		where      place
	}{
		{"percent at the end", "a%", inText},
		{"percent alone", "a%b", inText},
		{"not closed", "%{d", inText},
		{"empty", "%{}", inText},
		{"unknown letter", "%{x}", inText},
		{"no letter", "%{2}", inText},
		{"no letter but the same bits", "%{\x13}", inText},
		{"zero parts", "%{d0}", inText},
		{"r before digits", "%{dr2}", inText},
		{"no delimiter", "%{l@}", inText},
		{"space", "a b.example", inDomain},
		{"only for texts", "%{c}.example", inDomain},
		{"not ASCII", "\xc3\xa9", inText},
	} {
		if m, err := parseMacros(c.spec, c.where); err == nil {
			t.Errorf("%s: %q was read as %+v", c.name, c.spec, m)
		}
	}
}

func TestTargetIsCutFromTheLeft(t *testing.T) {
	m, err := parseDomainSpec("%{h}." + strings.Repeat("label.", 40) + "example.com")
	if err != nil {
		t.Fatal(err)
	}
	e := example("192.0.2.3")
	got := e.target(m, e.domain, nil)
	ends := strings.HasPrefix(got, "label.label") && strings.HasSuffix(got, ".example.com")
	if len(got) > maxName || len(got) < maxName-6 || !ends {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
}

// FuzzExpand: what is read as a macro-string can be expanded in any evaluation; as a domain-spec it gives a name of at
// most 253 bytes or one without a dot to cut at; upper case letters give only unreserved characters.
func FuzzExpand(f *testing.F) {
	f.Add("%{ir}.%{v}._spf.%{d2}", "strong-bad", "email.example.com")
	f.Add("%{S}%{L1r-+,/_=}%%%_%-", "a\x00b\xff", "..")
	f.Fuzz(func(t *testing.T, text, local, domain string) {
		e := example("2001:db8::cb01")
		e.local, e.domain, e.helo = local, domain, domain
		if m, err := parseMacros(text, inText); err == nil {
			e.expand(m, domain, nil, MaxExplanation)
		}
		m, err := parseDomainSpec(text)
		if err != nil {
			return
		}
		name := e.target(m, domain, nil)
		if len(name) > maxName && strings.Contains(name, ".") {
			t.Errorf("target %q has %d bytes", name, len(name))
		}
		if whole := strings.TrimSuffix(e.expand(m, domain, nil, 1<<20), "."); !strings.HasSuffix(whole, name) ||
			len(whole) <= maxName && whole != name {
			t.Errorf("target %q is not the end of %q", name, whole)
		}
		upper := strings.Map(func(r rune) rune {
			if strings.ContainsRune(letters, r) {
				return r - 0x20
			}
			return r
		}, "%{s}%{l}%{h}")
		if m, err = parseMacros(upper, inText); err != nil {
			t.Fatal(err)
		}
		reserved := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("@\"\\<>", r) }
		if got := e.expand(m, domain, nil, MaxExplanation); strings.ContainsFunc(got, reserved) {
			t.Errorf("escaped %q", got)
		}
	})
}
