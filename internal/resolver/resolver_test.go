package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
)

const zone = `
	example.org.        SOA  ns.example.org. hostmaster.example.org. 1 2 3 4 60
	example.org.        MX   10 mx1.example.org.
	example.org.        MX   5  MX2.Example.ORG.
	example.org.        MX   5  mx2.example.org.
	mx1.example.org.    A    192.0.2.1
	mx2.example.org. 60 A    192.0.2.2
	mx2.example.org.    AAAA 2001:db8::2
	six.example.org.    AAAA ::ffff:192.0.2.6
	www.example.org.    CNAME web.example.org.
	web.example.org. 20 A    192.0.2.80
	gone.example.org.   CNAME nowhere.example.org.
	away.example.org.   CNAME web.example.net.
	web.example.net.    A    198.51.100.80
	loop1.example.org.  CNAME loop2.example.org.
	loop2.example.org.  CNAME loop1.example.org.
	l0.example.org.     CNAME l1.example.org.
	l1.example.org.     CNAME l2.example.org.
	l2.example.org.     CNAME l3.example.org.
	l3.example.org.     CNAME l4.example.org.
	l4.example.org.     CNAME l5.example.org.
	l5.example.org.     CNAME l6.example.org.
	l6.example.org.     CNAME l7.example.org.
	l7.example.org.     CNAME l8.example.org.
	l8.example.org.     CNAME l9.example.org.
	l9.example.org.     CNAME l10.example.org.
	l10.example.org.    CNAME l11.example.org.
	l11.example.org.    CNAME l12.example.org.
	l12.example.org.    CNAME l13.example.org.
	l13.example.org.    A    192.0.2.13
	text.example.org.   TXT  "v=spf1 " "include:\"x\\y\" \195\188" "-all"
	1.2.0.192.in-addr.arpa. PTR mx1.example.org.
	1.2.0.192.in-addr.arpa. PTR Other.example.
	2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx2.example.org.
	_25._tcp.mx1.example.org. TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
	a\032b.example.org. TXT  "odd name"
	;! servfail bad.example.org MX
	;! servfail half.example.org AAAA
	half.example.org.   A    192.0.2.50
	;! servfail doubt.example.org AAAA
	;! refused  closed.example.org
	;! truncate mx1.example.org
	;! secure   example.org
	;! insecure text.example.org
`

// each runs a test against a server that has the zone and against the zone as
// a file: what is seen must be the same.
func each(t *testing.T, run func(t *testing.T, r *resolver.Resolver)) {
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(zone, "\n\t", "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]resolver.Options{
		"server": {Server: mailtest.DNS(t, zone)},
		"file":   {ZoneFile: file},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := resolver.New(o)
			if err != nil {
				t.Fatal(err)
			}
			run(t, r)
		})
	}
}

// show prints an answer or the kind of failure, and what else is known.
func show[T any](a resolver.Answer[T], err error) string {
	var parts []string
	for _, r := range a.Records {
		parts = append(parts, fmt.Sprint(r))
	}
	out := strings.Join(parts, " | ")
	var e *resolver.Error
	if errors.As(err, &e) {
		out = e.Kind.String()
	}
	if len(a.Chain) > 0 {
		out += " via " + strings.Join(a.Chain, " ")
	}
	if a.Authentic {
		out += " AD"
	}
	return out
}

func TestLookups(t *testing.T) {
	each(t, func(t *testing.T, r *resolver.Resolver) {
		ctx := context.Background()
		mx := func(name string) string { return show(r.MX(ctx, name)) }
		txt := func(name string) string { return show(r.TXT(ctx, name)) }
		addr := func(name string) string { return show(r.Addresses(ctx, name, true, true)) }
		ptr := func(ip string) string { return show(r.PTR(ctx, netip.MustParseAddr(ip))) }
		tlsa := func(name string) string { return show(r.TLSA(ctx, name)) }
		for _, tt := range []struct {
			name, got, want string
		}{
			{"mx, each once", mx("Example.Org"), "{10 mx1.example.org.} | {5 mx2.example.org.} AD"},
			{"final dot", mx("example.org."), "{10 mx1.example.org.} | {5 mx2.example.org.} AD"},
			{"no mx", mx("mx1.example.org"), "no such record AD"},
			{"no such domain", mx("none.example.org"), "no such domain AD"},
			{"other domain", mx("example.com"), "no such domain"},
			{"servfail", mx("bad.example.org"), "server failure"},
			{"refused", mx("closed.example.org"), "refused by the server"},
			{"over tcp", addr("mx1.example.org"), "192.0.2.1 AD"},
			{"both families", addr("mx2.example.org"), "192.0.2.2 | 2001:db8::2 AD"},
			{"mapped address stays", addr("six.example.org"), "::ffff:192.0.2.6 AD"},
			{"one family in doubt", addr("half.example.org"), "192.0.2.50 AD"},
			{"doubt before denial", addr("doubt.example.org"), "server failure"},
			{"no address", addr("text.example.org"), "no such record"},
			{"cname", addr("www.example.org"), "192.0.2.80 via www.example.org. AD"},
			{"cname to nothing", addr("gone.example.org"), "no such domain via gone.example.org. AD"},
			{"cname out of the secure zone", addr("away.example.org"), "198.51.100.80 via away.example.org."},
			{"loop", addr("loop1.example.org"), "CNAME loop or chain too long via loop1.example.org. loop2.example.org. AD"},
			{"chain too long", addr("l0.example.org")[:60], "CNAME loop or chain too long via l0.example.org. l1.example."},
			{"txt bytes", txt("text.example.org"), "v=spf1 include:\"x\\y\" ü-all"},
			{"odd name", txt("a b.example.org"), "odd name AD"},
			{"ptr", ptr("192.0.2.1"), "mx1.example.org. | other.example."},
			{"ptr of mapped", ptr("::ffff:192.0.2.1"), "mx1.example.org. | other.example."},
			{"ptr 6", ptr("2001:db8::2"), "mx2.example.org."},
			{"tlsa", tlsa("_25._tcp.mx1.example.org"), "3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff AD"},
			{"tlsa denied", tlsa("_25._tcp.mx2.example.org"), "no such domain AD"},
			{"not a name", mx("a..b"), "not a domain name"},
			{"empty name", mx(""), "not a domain name"},
			{"U-label", mx("bücher.example"), "not a domain name"},
			{"long name", mx(strings.Repeat("abcdefg.", 40)), "not a domain name"},
			{"no address at all", show(r.PTR(ctx, netip.Addr{})), "not a domain name"},
			{"no family wanted", show(r.Addresses(ctx, "mx1.example.org", false, false)), "no such record"},
			{"only 6", show(r.Addresses(ctx, "mx2.example.org", false, true)), "2001:db8::2 AD"},
			{"only 4", show(r.Addresses(ctx, "mx2.example.org", true, false)), "192.0.2.2 AD"},
		} {
			if tt.got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
			}
		}
	})
}

func TestLongestChain(t *testing.T) {
	each(t, func(t *testing.T, r *resolver.Resolver) {
		a, err := r.Addresses(context.Background(), "l2.example.org", true, false)
		if err != nil || len(a.Chain) != 11 || a.Chain[0] != "l2.example.org." || a.Name != "l13.example.org." {
			t.Errorf("got %+v, %v", a, err)
		}
	})
}

func TestTTL(t *testing.T) {
	each(t, func(t *testing.T, r *resolver.Resolver) {
		a, err := r.Addresses(context.Background(), "www.example.org", true, false)
		if err != nil || a.TTL != 20*time.Second {
			t.Errorf("through an alias: got %v, %v, want the shortest, 20s", a.TTL, err)
		}
		denied, err := r.MX(context.Background(), "none.example.org")
		if err == nil || denied.TTL != 60*time.Second {
			t.Errorf("denial: got %v, %v, want the minimum of the SOA, 1m", denied.TTL, err)
		}
	})
}

func TestErrorsSpeakNet(t *testing.T) {
	each(t, func(t *testing.T, r *resolver.Resolver) {
		for _, tt := range []struct {
			name                string
			notFound, temporary bool
		}{
			{"none.example.org", true, false},
			{"mx1.example.org", true, false},
			{"bad.example.org", false, true},
			{"closed.example.org", false, true},
		} {
			_, err := r.MX(context.Background(), tt.name)
			var d *net.DNSError
			if !errors.As(err, &d) {
				t.Fatalf("%s: %v is no net.DNSError", tt.name, err)
			}
			if d.IsNotFound != tt.notFound || d.IsTemporary != tt.temporary || d.Name != tt.name {
				t.Errorf("%s: got %+v", tt.name, d)
			}
			var e *resolver.Error
			if !errors.As(err, &e) || e.Temporary() != tt.temporary || e.Name != tt.name || e.Type != "MX" || e.Server == "" {
				t.Errorf("%s: got %+v", tt.name, e)
			}
		}
	})
}

func TestCancelled(t *testing.T) {
	each(t, func(t *testing.T, r *resolver.Resolver) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := r.MX(ctx, "example.org")
		var e *resolver.Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || !e.Temporary() {
			t.Errorf("got %v, want a temporary error that is context.Canceled", err)
		}
	})
}

func TestConcurrent(t *testing.T) {
	each(t, func(t *testing.T, r *resolver.Resolver) {
		names := []string{"example.org", "none.example.org", "bad.example.org", "mx1.example.org"}
		want := make([]string, len(names))
		for i, n := range names {
			want[i] = show(r.MX(context.Background(), n))
		}
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				if got := show(r.MX(context.Background(), names[i%4])); got != want[i%4] {
					t.Errorf("%s: got %q, want %q", names[i%4], got, want[i%4])
				}
			})
		}
		wg.Wait()
	})
}

func TestTimeout(t *testing.T) {
	silent := ";! timeout silent.example.\n"
	r, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, silent), Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.MX(context.Background(), "silent.example")
	var d *net.DNSError
	if !errors.As(err, &d) || !d.IsTimeout || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("got %v, want a time-out", err)
	}
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte(silent), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err = resolver.New(resolver.Options{ZoneFile: file, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got := show(r.MX(context.Background(), "silent.example")); got != "no answer in time" {
		t.Errorf("zone file: got %q", got)
	}
}

func TestDeadlineOfContext(t *testing.T) {
	r, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, ";! timeout silent.example.\n"), Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = r.MX(ctx, "silent.example")
	if !errors.Is(err, context.DeadlineExceeded) || show(resolver.Answer[int]{}, err) != "no answer in time" {
		t.Errorf("got %v, want a time-out", err)
	}
}

func TestLargeAnswer(t *testing.T) {
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "big.example. TXT \"%03d %s\"\n", i, strings.Repeat("x", 200))
	}
	r, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, text.String())})
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.TXT(context.Background(), "big.example")
	if err != nil || len(a.Records) != 200 {
		t.Errorf("got %d records, %v, want 200", len(a.Records), err)
	}
	if !slices.IsSorted(a.Records) {
		t.Errorf("records are not in the order of the server")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []resolver.Options{
		{Server: "127.0.0.1:dns"},
		{Server: "127.0.0.1:0"},
		{Server: "127.0.0.1:65536"},
		{Server: ":53"},
		{Server: "a:b:c"},
		{Timeout: -1},
	} {
		if _, err := resolver.New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
