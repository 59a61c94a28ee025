package dmarc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
)

func TestParseRecord(t *testing.T) {
	r, ok := ParseRecord("v=DMARC1; p=Reject; sp=none; np=quarantine; psd=N; t=y; adkim=s; aspf=s; fo=1:d:s; " +
		"rua=mailto:a@x.example!10m, https://x.example/r ,nonsense; ruf=mailto:b%2Cc@x.example; pct=50; rf=afrf")
	if !ok {
		t.Fatal("not a record")
	}
	want := &Record{
		Text: r.Text, P: Reject, SP: NoPolicy, NP: Quarantine, PSD: "n", Testing: true, StrictDKIM: true, StrictSPF: true, FO: "1:d:s",
		RUA: []URI{{"mailto:a@x.example", "10m"}, {"https://x.example/r", ""}}, RUF: []URI{{"mailto:b%2Cc@x.example", ""}}, Pct: 50,
		Problems: []string{"the size limit in rua is of RFC 7489", `rua holds no URI: "nonsense"`,
			"pct is of RFC 7489: RFC 9989 ignores it",
			"rf is of RFC 7489: RFC 9989 ignores it"},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}

func TestFailureOptions(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "1": "1", "d": "d", "1:d:s": "1:d:s", "s:d": "s:d", "D:0": "d:0",
		"0:1": "0", "d:d": "0", "x": "0", "": "0", "1:": "0", "10": "0",
	} {
		r, _ := ParseRecord("v=DMARC1; p=none; fo=" + in)
		if r.FO != want {
			t.Errorf("fo=%s: got %q, want %q", in, r.FO, want)
		}
	}
}

// A report keeps the walk and the pairs as facts.
func TestReportHasTheWay(t *testing.T) {
	dns := mailtest.Zone(t, `
_dmarc.example.com.   TXT "v=DMARC1; p=reject"
_dmarc.a.example.com. TXT "v=DMARC1; p=none"
`)
	auths := []Auth{{Method: "spf", Domain: "example.net"}, {Method: "dkim", Domain: "b.example.com", Selector: "s", Pass: true}}
	r := EvaluateDomain(context.Background(), "a.example.com", auths, Options{Resolver: dns})
	var way []string
	for _, w := range r.Walks {
		for _, q := range w.Queries {
			way = append(way, fmt.Sprintf("%s:%d:%v:%v", q.Domain, len(q.Texts), q.Absent, q.Known))
		}
		way = append(way, w.Start+" -> "+w.Org+" by "+w.Rule)
	}
	want := []string{
		"a.example.com:1:false:true", "example.com:1:false:false", "com:0:true:false", "a.example.com -> example.com by fewest labels",
		"b.example.com:0:true:false", "example.com:1:false:true", "com:0:true:true", "b.example.com -> example.com by fewest labels",
	}
	if !slices.Equal(way, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(way, "\n"), strings.Join(want, "\n"))
	}
	first, second := r.Alignments[0], r.Alignments[1]
	if first.Why != "it does not pass" || second.Why != "the same organisational domain example.com" || second.Org != "example.com" {
		t.Errorf("got %+v", r.Alignments)
	}
	if r.Result != Pass || r.Reason != "dkim passes for b.example.com: the same organisational domain example.com" {
		t.Errorf("got %s: %s", r.Result, r.Reason)
	}
}

// Whole tells the organisational domain where the verdict does not need it, and changes no verdict.
func TestWhole(t *testing.T) {
	dns := mailtest.Zone(t, `
_dmarc.a.example.com. TXT "v=DMARC1; p=reject"
_dmarc.example.com.   TXT "v=DMARC1; p=none"
_dmarc.a.example.net. TXT "v=DMARC1; p=reject"
;! servfail _dmarc.example.net.
`)
	r := EvaluateDomain(context.Background(), "a.example.com", nil, Options{Resolver: dns, Whole: true})
	if r.OrgDomain != "example.com" || r.Result != Fail || len(r.Walks) != 1 || len(r.Walks[0].Queries) != 3 {
		t.Errorf("got %+v", r)
	}
	r = EvaluateDomain(context.Background(), "a.example.net", nil, Options{Resolver: dns, Whole: true})
	if r.OrgDomain != "" || r.Result != Fail || r.Disposition != Reject {
		t.Errorf("trouble: got %+v", r)
	}
}

// Twenty results are looked at, those that pass before the others.
func TestManyAuths(t *testing.T) {
	dns := mailtest.Zone(t, `_dmarc.example.com. TXT "v=DMARC1; p=reject"`)
	var auths []Auth
	for range 100 {
		auths = append(auths, Auth{Method: "dkim", Domain: "example.com"})
	}
	auths = append(auths, Auth{Method: "dkim", Domain: "example.com", Pass: true})
	r := EvaluateDomain(context.Background(), "example.com", auths, Options{Resolver: dns})
	if r.Result != Pass || len(r.Alignments) != MaxAuths {
		t.Errorf("got %s with %d alignments", r.Result, len(r.Alignments))
	}
}

// hostile answers every question, in a way that depends on the name, and counts.
type hostile struct {
	seed  byte
	names map[string]int
}

func (h *hostile) TXT(_ context.Context, name string) (resolver.Answer[string], error) {
	h.names[name]++
	sum := h.seed
	for _, c := range []byte(name) {
		sum = sum*31 + c
	}
	texts := []string{
		"v=DMARC1; p=reject", "v=DMARC1; p=none; psd=y", "v=DMARC1; np=reject; p=none; psd=n", "v=DMARC1; p=none; np=reject", "x",
	}
	switch {
	case sum%11 == 0:
		return resolver.Answer[string]{}, errors.New("trouble")
	case sum%3 == 0:
		return resolver.Answer[string]{}, &resolver.Error{Kind: resolver.NXDomain, Name: name}
	}
	return resolver.Answer[string]{Records: []string{texts[int(sum)%len(texts)]}}, nil
}

// Whatever the names and the answers, no name is asked twice, a walk asks eight names at most, only what passes can pass,
// and only a failure has a disposition.
func FuzzEvaluate(f *testing.F) {
	f.Add("a.b.c.d.e.f.g.h.i.example.com", "x.b.c.d.e.f.g.h.i.example.com", byte(1), true)
	f.Add("example.com", "mail.example.com", byte(7), true)
	f.Add("a.b.c", "b.c", byte(40), false)
	f.Fuzz(func(t *testing.T, from, signer string, seed byte, pass bool) {
		for _, mode := range []Mode{RFC9989, RFC7489, Both} {
			dns := &hostile{seed, map[string]int{}}
			auths := []Auth{{Method: "dkim", Domain: signer, Pass: pass}, {Method: "spf", Domain: "a." + signer, Pass: pass}}
			r := EvaluateDomain(context.Background(), from, auths, Options{Resolver: dns, Mode: mode, Whole: true})
			checkReport(t, r, pass)
			for name, n := range dns.names {
				if n > 1 && strings.HasPrefix(name, "_dmarc.") {
					t.Errorf("%s was asked %d times", name, n)
				}
			}
			if len(dns.names) > 3*8+2 {
				t.Errorf("%d names were asked", len(dns.names))
			}
		}
	})
}

func checkReport(t *testing.T, r *Report, pass bool) {
	t.Helper()
	for _, w := range r.Walks {
		if len(w.Queries) > 8 {
			t.Errorf("walk from %s asks %d names", w.Start, len(w.Queries))
		}
		if w.Org != "" && w.Start != w.Org && !strings.HasSuffix(w.Start, "."+w.Org) {
			t.Errorf("organisational domain %s of %s", w.Org, w.Start)
		}
	}
	if r.Result == Pass && !pass {
		t.Error("passes without anything that passes")
	}
	if r.Disposition != NoPolicy && r.Result != Fail && r.From != "" {
		t.Errorf("%s has disposition %s", r.Result, r.Disposition)
	}
	if r.Reason == "" {
		t.Error("no reason")
	}
}

// A record is read the same with white space round its signs, and nothing of it leads to a policy that does not stand in it.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		"v=DMARC1; p=reject", "v=DMARC1;p=none;rua=mailto:a@b.c!1k,x:y;;t=y", "v=DMARC1; p=a; p=b; fo=1:d", "v=DMARC1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := ParseRecord(s)
		if ok != IsRecord(s) {
			t.Fatalf("IsRecord says %v", !ok)
		}
		if !ok {
			return
		}
		lower := strings.ToLower(s)
		for _, p := range []Policy{r.P, r.SP, r.NP} {
			if p != "" && !strings.Contains(lower, string(p)) {
				t.Errorf("policy %q is not in it", p)
			}
		}
		if len(r.Problems) > maxProblems || len(r.RUA) > maxURIs {
			t.Error("no limit")
		}
		spaced, ok := ParseRecord(strings.ReplaceAll(s, ";", "\t; "))
		spaced.Text, spaced.Problems, spaced.RUA, spaced.RUF = r.Text, r.Problems, r.RUA, r.RUF // clipped and trimmed elsewhere
		if !ok || !reflect.DeepEqual(spaced, r) {
			t.Errorf("with white space: got %+v, want %+v", spaced, r)
		}
	})
}

// A From field leads to a domain that stands in it, or to none. Another From field, or another address, never keeps the domain.
func FuzzAuthor(f *testing.F) {
	for _, s := range []string{
		"a@b.example", `"x" <a@b.example> (c)`, "g: a@b.example, c@b.example;", "a@b.example <c@b.example>", "(", `"\`,
		"Doe, J <a@b.example>", "a@bücher.example", "<@x:a@b>", "a (x) @b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return // another field, or unfolded before it comes here
		}
		field := message.Field{Name: "From", Raw: []byte("From: " + s + "\n")}
		domain, err := Author([]message.Field{field})
		if err != nil {
			return
		}
		if ascii, err := asciiDomain(domain); err != nil || ascii != domain {
			t.Fatalf("domain %q", domain)
		}
		if plain := strings.ToLower(s); !strings.Contains(domain, "xn--") && isASCII(s) && !strings.Contains(plain, domain) {
			t.Errorf("domain %q is not in it", domain)
		}
		if !utf8.ValidString(domain) || strings.ContainsAny(domain, " \t\r\n\"(),;<>@") {
			t.Errorf("domain %q", domain)
		}
		if _, err := Author([]message.Field{field, field}); err == nil {
			t.Error("two fields are accepted")
		}
		const other = "x@other.invalid"
		for _, more := range []string{s + ", " + other, other + ", " + s, s + " <" + other + ">", "<" + other + "> " + s} {
			field := message.Field{Name: "From", Raw: []byte("From: " + more + "\n")}
			d, err := Author([]message.Field{field})
			if err == nil && domain != "other.invalid" && d == domain && strings.Contains(bare(more), other) {
				t.Errorf("%q: got %q, though it has another address", more, d)
			}
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
