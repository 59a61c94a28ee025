package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParsePolicy(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"all", "version: STSv1\r\nmode: enforce\r\nmx: MX.example\r\nmx: *.b.example\r\nmax_age: 86400\r\n", "enforce [mx.example *.b.example] 24h0m0s"},
		{"bare LF, no end, blanks", "version:STSv1\nmode:testing\n\n mx : a.example \nmax_age:1", "testing [a.example] 1s"},
		{"none needs no host", "version: STSv1\nmode: none\nmax_age: 5", "none [] 5s"},
		{"first counts, unknown passed over", "version: STSv1\nmode: none\nmode: enforce\nmx2: x\nmax_age: 5", "none [] 5s"},
		{"age is capped", "version: STSv1\nmode: none\nmax_age: 9999999999", "none [] 8766h0m0s"},
		{"IDN", "version: STSv1\nmode: enforce\nmx: bücher.example\nmax_age: 5", "enforce [xn--bcher-kva.example] 5s"},
		{"version", "version: STSv2\nmode: none\nmax_age: 5", `policy version "STSv2" is not STSv1`},
		{"empty", "", `policy version "" is not STSv1`},
		{"mode", "version: STSv1\nmode: strict\nmax_age: 5", `policy mode "strict" is unknown`},
		{"no host", "version: STSv1\nmode: enforce\nmax_age: 5", "policy names no host"},
		{"no age", "version: STSv1\nmode: none", `policy max_age "" is no number of seconds`},
		{"bad age", "version: STSv1\nmode: none\nmax_age: -5", `policy max_age "-5" is no number of seconds`},
		{"huge age", "version: STSv1\nmode: none\nmax_age: 99999999999", `policy max_age "99999999999" is no number of seconds`},
		{"bad host", "version: STSv1\nmode: enforce\nmx: a..b\nmax_age: 5", `policy names "a..b", which is no host`},
		{"star alone", "version: STSv1\nmode: enforce\nmx: *\nmax_age: 5", `policy names "*", which is no host`},
		{"no key", "<html>", `policy line "<html>" is no "key: value"`},
		{"too large", strings.Repeat("x", MaxPolicy+1), "policy of more than 65536 bytes"},
	} {
		p, err := ParsePolicy([]byte(tt.text))
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(p.Mode, " ", p.MX, " ", p.MaxAge)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	p := &Policy{MX: []string{"mx.example", "*.wild.example"}}
	for host, want := range map[string]bool{
		"mx.example": true, "MX.example.": true, "a.mx.example": false, "wild.example": false,
		"a.wild.example": true, "a.b.wild.example": false, "example": false, "": false, "xwild.example": false,
	} {
		if got := p.Match(host); got != want {
			t.Errorf("%q: got %v", host, got)
		}
	}
}

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		texts []string
		want  string
	}{
		{nil, " <nil>"},
		{[]string{"v=spf1 -all", "v=STSv1; id=20160831085700Z;"}, "20160831085700Z <nil>"},
		{[]string{"v=STSv1 ;id=a1; id=b2"}, "a1 <nil>"},
		{[]string{"v=STSv1; id=a", "v=STSv1; id=b"}, " more than one STSv1 record"},
		{[]string{"v=STSv1;"}, ` MTA-STS record has a bad id ""`},
		{[]string{"v=STSv1; id=../x"}, ` MTA-STS record has a bad id "../x"`},
		{[]string{"v=STSv1; id=" + strings.Repeat("a", 33)}, ` MTA-STS record has a bad id "` + strings.Repeat("a", 33) + `"`},
		{[]string{"v=STSv10; id=a", " v=STSv1; id=a"}, " <nil>"},
	} {
		id, err := ParseSTSRecord(tt.texts)
		if got := fmt.Sprint(id, " ", err); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.texts, got, tt.want)
		}
	}
	for _, tt := range []struct{ text, want string }{
		{"v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/x", "[mailto:a@b.example https://c.example/x]"},
		{"v=TLSRPTv1;rua= mailto:a@b.example , ftp://x", "[mailto:a@b.example]"},
		{"v=TLSRPTv1; rua=ftp://x", "TLSRPT record names no mailto: or https: to report to"},
	} {
		r, err := ParseReport([]string{tt.text})
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(r.To)
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

// FuzzParsePolicy: what is read as a policy is read the same when written again,
// and allows the hosts it names.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("version: STSv1\nmode: enforce\nmx: *.a.example\nmx: b.example\nmax_age: 1"))
	f.Add([]byte("version: STSv1\nmode: none\nmax_age: 99"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		again := fmt.Sprintf("version: STSv1\nmode: %s\nmax_age: %d\n", p.Mode, p.MaxAge/time.Second)
		for _, mx := range p.MX {
			again += "mx: " + mx + "\n"
			if host := strings.Replace(mx, "*", "x", 1); !p.Match(host) {
				t.Errorf("does not allow %q", host)
			}
		}
		q, err := ParsePolicy([]byte(again))
		if err != nil || q.Mode != p.Mode || q.MaxAge != p.MaxAge || !slices.Equal(q.MX, p.MX) {
			t.Errorf("%+v became %+v, %v", p, q, err)
		}
	})
}
