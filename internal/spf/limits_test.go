package spf_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
	"pennypost/internal/spf"
)

// hostile is a DNS that answers every question from a text, round and round, and counts them.
type hostile struct {
	answers []string
	asked   int
}

func (h *hostile) next() string {
	h.asked++
	if len(h.answers) == 0 {
		return ""
	}
	return h.answers[h.asked%len(h.answers)]
}

// failure is the error that an answer stands for, nil if it is one.
func failure(answer string) error {
	switch answer {
	case "":
		return &resolver.Error{Kind: resolver.NoData}
	case "!":
		return &resolver.Error{Kind: resolver.NXDomain}
	case "?":
		return &resolver.Error{Kind: resolver.ServFail}
	case "x":
		return errors.New("no error of the resolver")
	}
	return nil
}

func (h *hostile) TXT(context.Context, string) (a resolver.Answer[string], err error) {
	text := h.next()
	a.Records = []string{text}
	return a, failure(text)
}

func (h *hostile) MX(context.Context, string) (a resolver.Answer[resolver.MX], err error) {
	text := h.next()
	for i := range len(text) % 13 {
		a.Records = append(a.Records, resolver.MX{Host: fmt.Sprint(text, i, ".")})
	}
	return a, failure(text)
}

func (h *hostile) PTR(context.Context, netip.Addr) (a resolver.Answer[string], err error) {
	text := h.next()
	for range len(text) % 40 {
		a.Records = append(a.Records, text)
	}
	return a, failure(text)
}

func (h *hostile) Addresses(_ context.Context, _ string, want4, _ bool) (a resolver.Answer[netip.Addr], err error) {
	text := h.next()
	ip := netip.MustParseAddr("2001:db8::1")
	if want4 {
		ip = netip.MustParseAddr("192.0.2.1")
	}
	a.Records = []netip.Addr{ip}
	return a, failure(text)
}

// maxQuestions is more than any evaluation may ask: the record; ten terms with an MX question, and two for each of ten
// hosts; the names of the client; the explanation.
const maxQuestions = 1 + spf.MaxLookups*(1+2*spf.MaxMX) + 1 + spf.MaxPTR + 1

// FuzzEvaluate has a DNS without sense or good will: whatever it says, there is a result, little is asked, counts and
// steps are within their limits, and the explanation can be shown.
func FuzzEvaluate(f *testing.F) {
	f.Add("192.0.2.1", "user@example.org", "h.example", "v=spf1 mx a:%{p}.example include:x.example redirect=y.example\x00!\x00?")
	f.Add("2001:db8::1", "", "h.example", "v=spf1 -all exp=%{s}.example\x00%{p}%{S} %{t}")
	f.Add("192.0.2.1", "\xc3\xbc@b\xc3\xbc.example", "h", "v=spf1 ptr exists:%{l1r+-}.%{d}\x00x\x00")
	f.Add("::ffff:192.0.2.1", "@.", "[::]", "v=spf1 include:%{h}")
	f.Fuzz(func(t *testing.T, ip, sender, helo, answers string) {
		addr, err := netip.ParseAddr(ip)
		if err != nil {
			addr = netip.Addr{}
		}
		h := &hostile{answers: strings.Split(answers, "\x00")}
		r := spf.Evaluate(t.Context(), spf.Query{IP: addr, Sender: sender, Helo: helo}, spf.Options{Resolver: h})
		switch r.Result {
		case spf.None, spf.Neutral, spf.Pass, spf.Fail, spf.SoftFail, spf.TempError, spf.PermError:
		default:
			t.Errorf("result %q", r.Result)
		}
		if r.Reason == "" {
			t.Error("no reason")
		}
		if h.asked > maxQuestions || r.Lookups > spf.MaxLookups+1 || r.Voids > spf.MaxVoids+1 {
			t.Errorf("%d questions, %d look-ups, %d voids", h.asked, r.Lookups, r.Voids)
		}
		noted := 0
		for _, s := range r.Steps {
			noted += len(s.Questions)
		}
		if noted != h.asked {
			t.Errorf("%d questions were asked, %d noted", h.asked, noted)
		}
		bad := func(c rune) bool { return c < ' ' || c > '~' }
		if len(r.Explanation) > spf.MaxExplanation || strings.ContainsFunc(r.Explanation, bad) {
			t.Errorf("explanation %q", r.Explanation)
		}
		if r.Explanation != "" && r.Result != spf.Fail {
			t.Errorf("%s has explanation %q", r.Result, r.Explanation)
		}
	})
}

// FuzzParse: a record that is read means the same when its terms are written out again.
func FuzzParse(f *testing.F) {
	f.Add("v=spf1 a:x.example/24//64 mx ?ip6:2001:db8::/32 include:%{d2r-}.example -all exp=a.b redirect=%{s}")
	f.Add("v=SPF1  foo=%{c} ptr:a/b.example  ")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := spf.Parse(text)
		if err != nil {
			return
		}
		again := "v=spf1"
		for _, term := range r.Terms {
			again += " " + term.Text
		}
		for _, term := range []*spf.Term{r.Redirect, r.Exp} {
			if term != nil {
				again += " " + term.Text
			}
		}
		second, err := spf.Parse(again)
		if err != nil {
			t.Fatalf("%q was read, %q was not: %v", text, again, err)
		}
		if a, b := fmt.Sprintf("%+v", r.Terms), fmt.Sprintf("%+v", second.Terms); a != b {
			t.Errorf("%q: got %s, then %s", text, a, b)
		}
	})
}

// slow answers nothing before its question is given up.
type slow struct{ hostile }

func (s *slow) TXT(ctx context.Context, name string) (resolver.Answer[string], error) {
	<-ctx.Done()
	return resolver.Answer[string]{}, &resolver.Error{Kind: resolver.Timeout, Name: name, Type: "TXT", Err: ctx.Err()}
}

func TestTimeIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := spf.Query{IP: netip.MustParseAddr("192.0.2.1"), Sender: "a@example.org"}
		r := spf.Evaluate(t.Context(), q, spf.Options{Resolver: &slow{}})
		took := time.Since(start)
		if took != spf.MaxTime || r.Result != spf.TempError || !strings.Contains(r.Reason, "no answer in time") {
			t.Errorf("got %s (%s) after %v", r.Result, r.Reason, took)
		}
	})
}

func TestLimitsCanBeSet(t *testing.T) {
	dns := mailtest.Zone(t, `a.example. TXT "v=spf1 a:n1.example a:n2.example a:n3.example a:n4.example ?all"`+"\n")
	q := spf.Query{IP: netip.MustParseAddr("192.0.2.1"), Sender: "x@a.example"}
	for _, c := range []struct {
		lookups, voids int
		want           spf.Result
	}{{0, 0, spf.PermError}, {0, 4, spf.Neutral}, {3, 4, spf.PermError}} {
		o := spf.Options{Resolver: dns, MaxLookups: c.lookups, MaxVoids: c.voids}
		if got := spf.Evaluate(t.Context(), q, o); got.Result != c.want {
			t.Errorf("%+v: got %s (%s)", c, got.Result, got.Reason)
		}
	}
}

func TestHeloScope(t *testing.T) {
	dns := mailtest.Zone(t, `h.example. TXT "v=spf1 exists:%{l}.%{o}.ok.example -all"
postmaster.h.example.ok.example. A 127.0.0.2
`)
	q := spf.Query{IP: netip.MustParseAddr("192.0.2.1"), Sender: "x@a.example", Helo: "h.example", Scope: spf.Helo}
	r := spf.Evaluate(t.Context(), q, spf.Options{Resolver: dns})
	if r.Result != spf.Pass || r.Scope != spf.Helo || r.Domain != "h.example" {
		t.Errorf("got %+v", r)
	}
	q.Helo = strings.Repeat("a.", 600) + "example"
	if r := spf.Evaluate(t.Context(), q, spf.Options{Resolver: dns}); r.Result != spf.None {
		t.Errorf("got %+v", r)
	}
}

// BenchmarkDeepIncludes is the worst a domain can do: as many records as are allowed, each as large as an answer can
// be. It has to stay below 50 ms of one core.
func BenchmarkDeepIncludes(b *testing.B) {
	zone := deepZone()
	dns := mailtest.Zone(b, zone)
	q := spf.Query{IP: netip.MustParseAddr("203.0.113.1"), Sender: "x@r0.example", Helo: "h.example"}
	before := cpuTime(b)
	for b.Loop() {
		if r := spf.Evaluate(b.Context(), q, spf.Options{Resolver: dns}); r.Result != spf.Fail || r.Lookups != 10 {
			b.Fatalf("%s %.200s", r.Result, r.Reason)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
}

// BenchmarkManyMacros is a record and an explanation full of macros, for the longest sender there is.
func BenchmarkManyMacros(b *testing.B) {
	record := "v=spf1"
	for range 10 {
		record += " mx:" + strings.Repeat("%{S}.", 1100) + "example"
	}
	dns := mailtest.Zone(b, "a.example. TXT "+quoteTXT(record+" -all exp=b.example")+"\nb.example. TXT "+
		quoteTXT(strings.Repeat("%{S}", 15_000))+"\n*.example. MX 1 m.example.\nm.example. A 192.0.2.1\n")
	q := spf.Query{IP: netip.MustParseAddr("203.0.113.1"), Sender: strings.Repeat("+", 1000) + "@a.example", Helo: "h.example"}
	before := cpuTime(b)
	for b.Loop() {
		if r := spf.Evaluate(b.Context(), q, spf.Options{Resolver: dns}); r.Result != spf.Fail || r.Explanation != "" {
			b.Fatalf("%s %.200s", r.Result, r.Reason)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
}

// cpuTime is what this process has used, which other processes do not lengthen.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestStepsAreBounded: of a record with tens of thousands of networks not all are noted, but the one that matches is.
func TestStepsAreBounded(t *testing.T) {
	dns := mailtest.Zone(t, deepZone())
	q := spf.Query{IP: netip.MustParseAddr("203.0.113.1"), Sender: "x@r0.example", Helo: "h.example"}
	r := spf.Evaluate(t.Context(), q, spf.Options{Resolver: dns})
	if last := r.Steps[len(r.Steps)-1]; len(r.Steps) > spf.MaxSteps+50 || last.Term != "-all" || !last.Matched {
		t.Errorf("%d steps, the last %+v", len(r.Steps), last)
	}
}

func deepZone() string {
	var zone strings.Builder
	for i := range 11 {
		record := "v=spf1"
		for len(record) < 60_000 {
			record += fmt.Sprintf(" ip4:10.%d.%d.0/24", i, len(record)%256)
		}
		if i < 10 {
			record += fmt.Sprintf(" include:r%d.example", i+1)
		}
		fmt.Fprintf(&zone, "r%d.example. TXT %s\n", i, quoteTXT(record+" -all"))
	}
	return zone.String()
}

func BenchmarkUsual(b *testing.B) {
	dns := mailtest.Zone(b, `a.example. TXT "v=spf1 mx a:x.example include:b.example ~all"
a.example. MX 10 x.example.
x.example. A 192.0.2.1
b.example. TXT "v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ip6:2001:db8::/32 ~all"
`)
	q := spf.Query{IP: netip.MustParseAddr("203.0.113.1"), Sender: "x@a.example", Helo: "h.example"}
	for b.Loop() {
		if r := spf.Evaluate(b.Context(), q, spf.Options{Resolver: dns}); r.Result != spf.Pass {
			b.Fatal(r.Reason)
		}
	}
}
