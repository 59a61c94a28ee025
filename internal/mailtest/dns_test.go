package mailtest

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestDNSAnswersBothWays(t *testing.T) {
	addr := DNS(t, `
		example.org.  MX  10 mx.example.org.
		              TXT "two lines,"
		              TXT "one name"
		;! truncate   example.org. MX
	`)
	for _, tt := range []struct {
		network   string
		qtype     uint16
		answers   int
		truncated bool
	}{
		{"udp", dns.TypeTXT, 2, false},
		{"tcp", dns.TypeTXT, 2, false},
		{"udp", dns.TypeMX, 0, true},
		{"tcp", dns.TypeMX, 1, false},
	} {
		c := dns.Client{Net: tt.network, Timeout: 10 * time.Second}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.org.", tt.qtype), addr)
		if err != nil {
			t.Fatalf("%s %d: %v", tt.network, tt.qtype, err)
		}
		if len(m.Answer) != tt.answers || m.Truncated != tt.truncated {
			t.Errorf("%s %d: got %d answers, truncated %v; want %d, %v", tt.network, tt.qtype, len(m.Answer), m.Truncated, tt.answers, tt.truncated)
		}
	}
}

// TestDNSServersApart: two servers in one test have their own zones.
func TestDNSServersApart(t *testing.T) {
	a := DNS(t, "example.org. A 192.0.2.1")
	b := DNS(t, "example.net. A 192.0.2.2")
	c := dns.Client{Timeout: 10 * time.Second}
	for addr, code := range map[string]int{a: dns.RcodeSuccess, b: dns.RcodeNameError} {
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeA), addr)
		if err != nil || m.Rcode != code {
			t.Errorf("%s: got %v, %v", addr, m, err)
		}
	}
}

func TestDedent(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"a\nb":                      "a\nb",
		"\n\ta A 1\n\t  A 2\n":      "\na A 1\n  A 2\n",
		"  a\n\n \n  b":             "a\n\n \nb",
		"\t\ta\n\tb":                "\ta\nb",
		"\t a\n  b":                 "\t a\n  b",
		"a\n\tb":                    "a\n\tb",
		"\n\t\tx A 1\n\t\t;! x\n\t": "\nx A 1\n;! x\n\t",
	} {
		if got := dedent(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestBareDirective(t *testing.T) {
	for in, want := range map[string]bool{
		"; servfail a.example.":                           true,
		"a. A 192.0.2.1\n\t;timeout silent.example.org\n": true,
		";! servfail a.example.":                          false,
		"; secure delegations are another matter":         false,
		"; the server is silent here":                     false,
	} {
		if got := bareDirective.MatchString(in); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}
