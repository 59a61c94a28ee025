package route

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

func written(t testing.TB, all []Routes) string {
	t.Helper()
	var b strings.Builder
	for _, r := range all {
		if err := WriteRoutes(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// TestRoutesOfPlans: what is found out is the same after writing and reading.
func TestRoutesOfPlans(t *testing.T) {
	r := mailtest.Zone(t, policyZone+"v6.sec.example. A 192.0.2.1\nv6.sec.example. AAAA 2001:db8::1\nlit.sec.example. MX 1 192.0.2.1.\n")
	for _, domain := range []string{"sec.example", "pkix.sec.example", "dark.sec.example", "v6.sec.example", "[192.0.2.1]", "[IPv6:2001:db8::1]:26", "host.sec.example:587", "lit.sec.example"} {
		p, _ := Find(context.Background(), r, domain, Options{Policy: true})
		text := written(t, []Routes{p.Routes()})
		if n := strings.Count(text, "\n"); n < 1 {
			t.Errorf("%s: no line", domain)
		}
		back, err := ReadRoutes(strings.NewReader("# a remark\n\n" + text))
		if err != nil {
			t.Errorf("%s: %v\n%s", domain, err, text)
			continue
		}
		if again := written(t, back); again != text {
			t.Errorf("%s:\n%sbecame\n%s", domain, text, again)
		}
		if len(back[0].Targets) != len(p.Targets) {
			t.Errorf("%s: %d targets became %d", domain, len(p.Targets), len(back[0].Targets))
		}
	}
}

func TestReadRoutes(t *testing.T) {
	const good = "a.example\t10\tmx.a.example\t25\t192.0.2.1\tsts\t-\t-\n"
	for _, tt := range []struct{ name, text, want string }{
		{"as it is", good, good},
		{"no line end, CRLF", good[:len(good)-1] + "\r", good},
		{"upper case, IDN", "BÜCHER.example\t10\tMX.a.example\t25\t192.0.2.1\tsts\t-\t-\n", "xn--bcher-kva.example\t10\tmx.a.example\t25\t192.0.2.1\tsts\t-\t-\n"},
		{"domains apart", good + strings.ReplaceAll(good, "a.example", "b.example") + good, good + good + strings.ReplaceAll(good, "a.example", "b.example")},
		{"fields", "a.example 10 mx.a.example", "routes: line 1: 1 fields, not 8"},
		{"preference", strings.Replace(good, "10", "x", 1), `routes: line 1: bad preference "x"`},
		{"port", strings.Replace(good, "25", "0", 1), `routes: line 1: bad port "0"`},
		{"address", strings.Replace(good, "192.0.2.1", "1", 1), `routes: line 1: bad address "1"`},
		{"no address", strings.Replace(good, "192.0.2.1", "-", 1), "routes: line 1: no address, yet not refused"},
		{"demand", "\n" + strings.Replace(good, "sts", "maybe", 1), `routes: line 2: unknown demand "maybe"`},
		{"domain", strings.Replace(good, "a.example", "a..b", 1), `routes: line 1: domain "a..b"`},
		{"host", strings.Replace(good, "mx.a.example", "[mx]", 1), `routes: line 1: host "[mx]": a name in brackets`},
		{"host with port", strings.Replace(good, "mx.a.example", "mx:25", 1), `routes: line 1: host "mx:25": the port has a field`},
		{"idle records", strings.Replace(good, "-\t-", "-\t3 1 1 "+sum256, 1), "routes: line 1: names or TLSA records, but"},
		{"no records", strings.Replace(good, "sts", "dane", 1), `routes: line 1: bad`},
		{"unusable record", strings.Replace(good, "sts\t-\t-", "dane\tmx.a.example\t1 1 1 "+sum256, 1), `routes: line 1: bad TLSA records`},
		{"long line", "#\n" + strings.Repeat("x", maxRow+1), fmt.Sprintf("routes: line 2: longer than %d bytes", maxRow)},
	} {
		all, err := ReadRoutes(strings.NewReader(tt.text))
		got := written(t, all)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want && !(err != nil && strings.HasPrefix(got, tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzReadRoutes: a table that can be read is the same after writing and reading
// it again.
func FuzzReadRoutes(f *testing.F) {
	f.Add("a.example\t10\tmx.a.example\t25\t192.0.2.1\tsts\t-\t-\n")
	f.Add("a.example\t10\tmx.a.example\t25\t::1\tdane\tmx.a.example,a.example\t3 1 1 " + sum256 + ",2 0 0 aa\n")
	f.Add("[::1]:26\t0\t[IPv6:::1]\t26\t::1\topportunistic\t-\t-\n#\na:25\t0\ta\t25\t-\trefused\t-\t-")
	f.Add("lit.example\t0\t192.0.2.1\t26\t-\trefused\t-\t-\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ReadRoutes(strings.NewReader(text))
		if err != nil {
			return
		}
		first := written(t, all)
		back, err := ReadRoutes(strings.NewReader(first))
		if err != nil {
			t.Fatalf("%q: %v", first, err)
		}
		if second := written(t, back); second != first {
			t.Errorf("%q became %q", first, second)
		}
	})
}
