package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

const zone = `
example.org.        MX 20 mx3.example.org.
example.org.        MX 10 mx2.example.org.
example.org.        MX 5  mx1.example.org.
mx1.example.org.    A    192.0.2.1
mx2.example.org.    A    192.0.2.2
mx2.example.org.    AAAA 2001:db8::2
mx3.example.org.    AAAA 2001:db8::3
alias.example.org.  CNAME example.org.
host.example.org.   A    192.0.2.10
hostalias.example.org. CNAME host.example.org.
empty.example.org.  TXT  "no way"
null.example.org.   MX 0 .
nullplus.example.org. MX 0 .
nullplus.example.org. MX 9 mx1.example.org.
twice.example.org.  MX 30 mx1.example.org.
twice.example.org.  MX 10 mx2.example.org.
twice.example.org.  MX 20 MX1.example.org.
lost.example.org.   MX 10 nowhere.example.org.
lost.example.org.   MX 20 empty.example.org.
partly.example.org. MX 10 nowhere.example.org.
partly.example.org. MX 20 mx1.example.org.
doubt.example.org.  MX 10 nowhere.example.org.
doubt.example.org.  MX 20 broken.example.org.
partdoubt.example.org. MX 10 broken.example.org.
partdoubt.example.org. MX 20 mx1.example.org.
literalmx.example.org. MX 10 192.0.2.1.
xn--bcher-kva.example. MX 10 mx1.example.org.
_odd.example.org.   MX 10 mx1.example.org.
;! servfail broken.example.org
;! servfail badmx.example.org MX
badmx.example.org.  A 192.0.2.11
;! servfail badaddr.example.org A
;! servfail badaddr.example.org AAAA
badaddr.example.org. TXT "x"
;! timeout silent.example.org
`

// show prints targets or the error in one line.
func show(targets []Target, err error) string {
	if e := status.Of(err); e != nil {
		out := e.Line()
		if errors.Is(err, ErrNoMail) {
			out += " [no mail]"
		}
		return out
	}
	var parts []string
	for _, t := range targets {
		s := fmt.Sprintf("%d %s:%d %v", t.Preference, t.Host, t.Port, t.Addresses)
		if t.Implicit {
			s += " implicit"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}

// onlyIPv4 is a machine without IPv6, whatever the one is that tests run on.
func onlyIPv4(to netip.Addr) netip.Addr {
	if to.Is4() {
		return netip.AddrFrom4([4]byte{192, 0, 2, 99})
	}
	return netip.Addr{}
}

func TestLookup(t *testing.T) {
	r := mailtest.Zone(t, zone)
	const three = "5 mx1.example.org:25 [192.0.2.1], 10 mx2.example.org:25 [192.0.2.2 2001:db8::2], 20 mx3.example.org:25 [2001:db8::3]"
	const first = "10 mx1.example.org:25 [192.0.2.1]"
	for _, tt := range []struct {
		domain  string
		options Options
		want    string // a prefix, if it ends in "..."
	}{
		{"example.org", Options{}, three},
		{"Example.ORG.", Options{}, three},
		{"alias.example.org", Options{}, three},
		{"example.org", Options{Port: 2525, Only4: true}, "5 mx1.example.org:2525 [192.0.2.1], 10 mx2.example.org:2525 [192.0.2.2]"},
		{"example.org", Options{Only6: true}, "10 mx2.example.org:25 [2001:db8::2], 20 mx3.example.org:25 [2001:db8::3]"},
		{"twice.example.org", Options{Only4: true}, "10 mx2.example.org:25 [192.0.2.2], 20 mx1.example.org:25 [192.0.2.1]"},
		{"bücher.example", Options{}, first},
		{"BÜCHER.example", Options{}, first},
		{"xn--bcher-kva.example", Options{}, first},
		{"_odd.example.org", Options{}, first},

		{"host.example.org", Options{}, "0 host.example.org:25 [192.0.2.10] implicit"},
		{"hostalias.example.org", Options{}, "0 host.example.org:25 [192.0.2.10] implicit"},
		{"host.example.org", Options{Only6: true}, "550 5.4.4 host.example.org: accepts no mail: has neither a mail exchanger nor an address [no mail]"},
		{"empty.example.org", Options{}, "550 5.4.4 empty.example.org: accepts no mail: has neither a mail exchanger nor an address [no mail]"},

		{"null.example.org", Options{}, "556 5.1.10 null.example.org: accepts no mail (null MX) [no mail]"},
		{"nullplus.example.org", Options{}, "9 mx1.example.org:25 [192.0.2.1]"},
		{"none.example.org", Options{}, "550 5.1.2 none.example.org: no such domain"},
		{"lost.example.org", Options{}, "550 5.4.4 lost.example.org: accepts no mail: none of its mail exchangers has an address [no mail]"},
		{"literalmx.example.org", Options{}, "550 5.4.4 literalmx.example.org: accepts no mail: none..."},
		{"partly.example.org", Options{}, "20 mx1.example.org:25 [192.0.2.1]"},
		{"partdoubt.example.org", Options{}, "20 mx1.example.org:25 [192.0.2.1]"},
		{"doubt.example.org", Options{}, "451 4.4.3 doubt.example.org: look up A \"broken.example.org\"..."},
		{"badmx.example.org", Options{}, "451 4.4.3 badmx.example.org: look up MX..."},
		{"badaddr.example.org", Options{}, "451 4.4.3 badaddr.example.org: look up A..."},
		{"silent.example.org", Options{}, "451 4.4.3 silent.example.org: look up MX..."},

		{"[192.0.2.7]", Options{}, "0 [192.0.2.7]:25 [192.0.2.7]"},
		{"[IPv6:2001:DB8::7]", Options{}, "0 [IPv6:2001:db8::7]:25 [2001:db8::7]"},
		{"[2001:db8::7]", Options{}, "0 [IPv6:2001:db8::7]:25 [2001:db8::7]"},
		{"[192.0.2.7]:2525", Options{Port: 24}, "0 [192.0.2.7]:2525 [192.0.2.7]"},
		{"192.0.2.7:2525", Options{}, "0 [192.0.2.7]:2525 [192.0.2.7]"},
		{"[192.0.2.7]", Options{Only6: true}, "550 5.4.4 [192.0.2.7]: accepts no mail: not an address of the family asked for [no mail]"},
		{"example.org:25", Options{}, "550 5.4.4 example.org:25: accepts no mail: has no address [no mail]"},
		{"mx1.example.org:587", Options{}, "0 mx1.example.org:587 [192.0.2.1]"},
		{"[mx1.example.org]", Options{}, "0 mx1.example.org:25 [192.0.2.1]"},
		{"[mx1.example.org]:587", Options{Port: 24}, "0 mx1.example.org:587 [192.0.2.1]"},
		{"[mx1.example.org]", Options{Port: 24}, "0 mx1.example.org:24 [192.0.2.1]"},
		{"none.example.org:25", Options{}, "550 5.1.2 none.example.org:25: no such domain"},
		{"broken.example.org:25", Options{}, "451 4.4.3 broken.example.org:25: look up..."},

		{"192.0.2.7", Options{}, "550 5.1.2 192.0.2.7: not a domain: an address is written [192.0.2.7]"},
		{"2001:db8::7", Options{}, "550 5.1.2 2001:db8::7: not a domain: an address is written [IPv6:2001:db8::7]"},
		{"", Options{}, "550 5.1.2 : not a domain..."},
		{"a..b", Options{}, "550 5.1.2 a..b: not a domain..."},
		{"a b.example", Options{}, "550 5.1.2 a b.example: not a domain..."},
		{"a\nb", Options{}, `550 5.1.2 a\x0ab: not a domain...`},
		{"[192.0.2.7", Options{}, "550 5.1.2 [192.0.2.7: not a domain: bracket does not end"},
		{"[192.0.2.7]x", Options{}, "550 5.1.2 [192.0.2.7]x: not a domain: bad port \"x\""},
		{"host:0", Options{}, "550 5.1.2 host:0: not a domain: bad port \":0\""},
		{"host:65536", Options{}, "550 5.1.2 host:65536: not a domain: bad port \":65536\""},
		{"host:smtp", Options{}, "550 5.1.2 host:smtp: not a domain: bad port \":smtp\""},
		{"a:b:c", Options{}, "550 5.1.2 a:b:c: not a domain: more than one colon"},
		{":25", Options{}, "550 5.1.2 :25: not a domain..."},
		{"[]", Options{}, "550 5.1.2 []: not a domain..."},
		{strings.Repeat("x", 300), Options{}, "550 5.1.2 xxxx..."},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			tt.options.Source = onlyIPv4
			got := show(Lookup(context.Background(), r, tt.domain, tt.options))
			prefix, open := strings.CutSuffix(tt.want, "...")
			if got != tt.want && !(open && strings.HasPrefix(got, prefix)) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSkipped(t *testing.T) {
	r := mailtest.Zone(t, zone)
	var skipped []string
	o := Options{Skipped: func(host string, err error) {
		var e *resolver.Error
		if errors.As(err, &e) {
			skipped = append(skipped, host+": "+e.Kind.String())
		}
	}}
	if _, err := Lookup(context.Background(), r, "doubt.example.org", o); err == nil {
		t.Error("no error")
	}
	want := []string{"nowhere.example.org: no such domain", "broken.example.org: server failure"}
	if !slices.Equal(skipped, want) {
		t.Errorf("got %q, want %q", skipped, want)
	}
}

func TestCancelledIsTemporary(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, domain := range []string{"example.org", "none.example.org", "mx1.example.org:25"} {
		_, err := Lookup(ctx, mailtest.Zone(t, zone), domain, Options{})
		if e := status.Of(err); e == nil || e.Class != status.Temporary || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", domain, err)
		}
	}
}

// equalPreferences is a domain with n exchangers of preference 10, one better
// and one worse.
func equalPreferences(n int) string {
	var b strings.Builder
	b.WriteString("e.example. MX 5 best.example.\ne.example. MX 20 worst.example.\n*.example. A 192.0.2.1\n")
	for i := range n {
		fmt.Fprintf(&b, "e.example. MX 10 h%d.example.\n", i)
	}
	return b.String()
}

func hosts(t *testing.T, r *resolver.Resolver, o Options) []string {
	t.Helper()
	targets, err := Lookup(context.Background(), r, "e.example", o)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, target := range targets {
		out = append(out, target.Host)
	}
	return out
}

func TestEqualPreferencesAreShuffled(t *testing.T) {
	r := mailtest.Zone(t, equalPreferences(4))
	seconds := map[string]int{}
	for seed := range uint64(200) {
		got := hosts(t, r, Options{Seed: seed + 1})
		if got[0] != "best.example" || got[5] != "worst.example" {
			t.Fatalf("preferences are mixed: %q", got)
		}
		if again := hosts(t, r, Options{Seed: seed + 1}); !slices.Equal(got, again) {
			t.Fatalf("seed %d: %q and then %q", seed+1, got, again)
		}
		seconds[got[1]]++
	}
	for host, n := range seconds {
		if n < 25 || n > 75 {
			t.Errorf("%s comes first of its equals %d times in 200", host, n)
		}
	}
	if len(seconds) != 4 {
		t.Errorf("first of equals were %v", seconds)
	}
}

// TestSeedRepeatsWhateverTheServerSays: the order of the answer does not matter.
func TestSeedRepeatsWhateverTheServerSays(t *testing.T) {
	text := equalPreferences(4)
	lines := strings.SplitAfter(text, "\n")
	slices.Reverse(lines)
	a := hosts(t, mailtest.Zone(t, text), Options{Seed: 7})
	b := hosts(t, mailtest.Zone(t, strings.Join(lines, "")), Options{Seed: 7})
	if !slices.Equal(a, b) {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestWithoutSeedItVaries(t *testing.T) {
	r := mailtest.Zone(t, equalPreferences(20))
	first := hosts(t, r, Options{})
	for range 10 {
		if !slices.Equal(first, hosts(t, r, Options{})) {
			return
		}
	}
	t.Errorf("always %q", first)
}

func TestManyExchangersAreCut(t *testing.T) {
	got := hosts(t, mailtest.Zone(t, equalPreferences(200)), Options{})
	if len(got) != maxHosts || got[0] != "best.example" {
		t.Errorf("got %d hosts, the first %s", len(got), got[0])
	}
}

// TestThroughServer: the same by a real server, many exchangers at once.
func TestThroughServer(t *testing.T) {
	r, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, equalPreferences(30))})
	if err != nil {
		t.Fatal(err)
	}
	if got := hosts(t, r, Options{}); len(got) != 32 {
		t.Errorf("got %d hosts", len(got))
	}
}

// FuzzParse: what is taken for a destination is a name the DNS can be asked
// for, or an address, and is taken again when written down in full.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"example.org", "[192.0.2.1]", "[IPv6:::1]:25", "host:587", "[host]:1", "bücher.example", "::1", "a:b:c", "[", "]:", "x]:25"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parse(s)
		if err != nil {
			return
		}
		if (d.name == "") == !d.addr.IsValid() || d.port < 0 || d.port > 65535 {
			t.Fatalf("%q: %+v", s, d)
		}
		again := d.name
		switch {
		case d.addr.IsValid():
			again = "[" + d.addr.String() + "]"
		case d.direct:
			again = "[" + d.name + "]"
		}
		if d.port != 0 {
			again += fmt.Sprintf(":%d", d.port)
		}
		if e, err := parse(again); err != nil || e != d {
			t.Errorf("%q is %+v, %q is %+v, %v", s, d, again, e, err)
		}
	})
}
