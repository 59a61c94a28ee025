package lint_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailauth/lint"
	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/spf"
)

// show is the findings as lines; notes are part of it.
func show(found []lint.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s %s: %s\n", f.Level, f.Check, f.Name, f.Text)
	}
	return b.String()
}

// offline looks at the domain example.org in a zone file.
func offline(t testing.TB, file, text, policy string) []lint.Finding {
	t.Helper()
	zone, err := resolver.ParseZone(strings.NewReader(text), file)
	if err != nil {
		t.Fatal(err)
	}
	dns, err := resolver.New(resolver.Options{ZoneFile: file})
	if err != nil {
		t.Fatal(err)
	}
	o := lint.Options{Resolver: dns, Offline: true, Names: zone.Names()}
	if policy != "" {
		o.Policy = func(context.Context, string) (*route.Policy, error) { return route.ParsePolicy([]byte(policy)) }
	}
	found, err := lint.Domain(t.Context(), "Example.ORG.", o)
	if err != nil {
		t.Fatal(err)
	}
	return append(lint.Zone(text), found...)
}

// TestGolden: NAME.zone is what example.org publishes, NAME.policy its MTA-STS policy if there is one, NAME.want the
// findings, and NAME.why what it is about.
func TestGolden(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.zone")
	if len(files) < 14 {
		t.Fatalf("only %d cases", len(files))
	}
	for _, file := range files {
		stem := strings.TrimSuffix(file, ".zone")
		t.Run(filepath.Base(stem), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(stem + ".want")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(stem + ".why"); err != nil {
				t.Error(err)
			}
			policy, _ := os.ReadFile(stem + ".policy")
			if got := show(offline(t, file, string(text), string(policy))); got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	long := `"v=DKIM1; k=rsa; p=` + strings.Repeat("A", 300) + `"`
	for _, c := range []struct{ name, text, want string }{
		{"spf", "v=spf1 mx -all\n", ""},
		{"spf in a zone line", `example.org. 300 IN TXT ("v=spf1 mx " "-all")`, ""},
		{"spf without end", "v=spf1 mx", "warning spf : it has neither all nor redirect="},
		{"spf twice", "v=spf1 mx -all v=spf1 a -all", "error spf : \"v=spf1\" stands in it 2 times"},
		{"spf of many look-ups", "v=spf1" + strings.Repeat(" a", 11) + " -all", "error spf : it needs 11 look-ups by itself"},
		{"typographic quotes", "v=spf1 include:\u201cx.example\u201d -all", "error spf : it has typographic quotes"},
		{"no-break space", "v=spf1\u00a0-all", "error spf : it has typographic quotes"},
		{"quotes inside", `v=spf1 "mx" -all`, "error spf : it has quotes inside"},
		{"escaped semicolon", `v=DMARC1\; p=none\; rua=mailto:a@b.example`, `error dmarc : it has "\;" where`},
		{"escaped semicolon in a zone", `_dmarc.a.example. TXT "v=DMARC1\; p=reject\; rua=mailto:a@b.example"`,
			"note dmarc : p=reject"},
		{"no quotes in a zone", "_dmarc.a.example. IN TXT v=DMARC1; p=reject",
			"error dmarc : in a zone file everything from the first"},
		{"bad policy", "v=DMARC1; p=rejct", `warning dmarc : p is not none, quarantine or reject: "rejct"`},
		{"does nothing", "v=DMARC1", "error dmarc : there is no usable p= and nobody to report to"},
		{"version in lower case", "v=dmarc1; p=reject", "error dmarc : \"v=dmarc1; p=reject\" is not read as a record"},
		{"long string", long, "error dkim : a string of 318 bytes, where 255 is the most"},
		{"long record", "v=spf1" + strings.Repeat(" ip4:192.0.2.1", 30) + " -all",
			"note spf : it has 431 bytes: in a zone file it has to be split"},
		{"key without version", "k=rsa; p=", "note dkim : it has no v=DKIM1"},
		{"key over lines", "v=DKIM1; k=ed25519;\n p=AAAAAAAAAAAAAAAAAAAAA\n AAAAAAAAAAAAAAAAAAAAAAA=",
			"warning dkim : p= holds blanks"},
		{"mta-sts", "v=STSv1; id=2026;", ""},
		{"mta-sts with a bad id", "v=STSv1; id=20-26", "error mta-sts : MTA-STS record has a bad id"},
		{"tls-rpt", "v=TLSRPTv1; rua=https://a.example/x", ""},
		{"tls-rpt to nobody", "v=TLSRPTv1; rua=a@b.example", "error tls-rpt : TLSRPT record names no"},
		{"bimi", "v=BIMI1; l=https://a.example/a.svg; a=https://a.example/a.pem", ""},
		{"bimi on purpose without", "v=BIMI1; l=; a=", "note bimi : l= is empty"},
		{"bimi by http", "v=BIMI1; l=http://a.example/a.svg", "error bimi : l=http://a.example/a.svg is not an https: URL"},
		{"none", "hello", `error  : "hello" is no record that is known here`},
	} {
		found, err := lint.Record(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := show(found); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got:\n%swant %q", c.name, got, c.want)
		}
	}
	for _, text := range []string{"", " \n", `""`, strings.Repeat("v=spf1 ", 10_000)} {
		if found, err := lint.Record(text); err == nil {
			t.Errorf("%.20q: got %v", text, found)
		}
	}
}

func TestZoneText(t *testing.T) {
	text := "; a.example. TXT v=spf1; \"" + strings.Repeat("x", 300) + "\"\n" +
		"a.example. TXT \"ok; fine\" ; a comment\n" +
		"b.example. TXT v=DKIM1; p=abc\n" +
		"c.example. TXT \"" + strings.Repeat("x", 256) + "\" \"" + strings.Repeat("y", 255) + "\"\n" +
		"d.example. TXT word ; a comment\n"
	got := show(lint.Zone(text))
	want := "error zone line 3: everything from the first semicolon on is a comment: the text has to stand in quotes\n" +
		"error zone line 4: a string of 256 bytes, where 255 is the most: split it, as in \"...\" \"...\" (\"" +
		strings.Repeat("x", 60) + "...\")\n"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// online looks at a domain in a DNS that is whole.
func online(t testing.TB, domain, zone string, selectors ...string) string {
	t.Helper()
	found, err := lint.Domain(t.Context(), domain, lint.Options{Resolver: mailtest.Zone(t, zone), Selectors: selectors})
	if err != nil {
		t.Fatal(err)
	}
	return show(found)
}

func TestOnline(t *testing.T) {
	got := online(t, "sub.example.org", `
example.org. TXT "v=spf1 -all"
_dmarc.example.org. TXT "v=DMARC1; p=reject; sp=quarantine"
sub.example.org. TXT "v=spf1 include:gone.example.net -all"
s1._domainkey.sub.example.org. TXT "v=DKIM1; p="
`)
	for _, want := range []string{
		"error spf sub.example.org: include:gone.example.net: gone.example.net has no record",
		"note dkim s1._domainkey.sub.example.org: the key is revoked",
		"note dmarc _dmarc.sub.example.org: the record of example.org applies: quarantine",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	got = online(t, "example.org", `
example.org. TXT "v=spf1 -all"
_dmarc.example.org. TXT "v=DMARC1; p=reject; rua=mailto:a@far.example.net,mailto:b@sub.example.org,mailto:c@agreed.example.com"
example.org._report._dmarc.agreed.example.com. TXT "v=DMARC1;"
`, "one", "bad name")
	for _, want := range []string{
		"error dmarc _dmarc.example.org: mailto:a@far.example.net gets no reports, for far.example.net does not agree: " +
			"there is no v=DMARC1 at example.org._report._dmarc.far.example.net",
		"error dkim one._domainkey.example.org: there is no key",
		"error dkim bad name: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	for _, not := range []string{"sub.example.org gets", "agreed.example.com gets"} {
		if strings.Contains(got, not) {
			t.Errorf("%q in:\n%s", not, got)
		}
	}
	got = online(t, "example.org", "_dmarc.org. TXT \"v=DMARC1; p=reject; psd=y\"\n")
	if want := "error dmarc _dmarc.example.org: no DMARC record applies"; strings.Contains(got, want) {
		t.Errorf("with a record of the suffix: got\n%s", got)
	}
	got = online(t, "example.org", "x.example. A 192.0.2.1\n")
	if want := "error dmarc _dmarc.example.org: no DMARC record applies"; !strings.Contains(got, want) {
		t.Errorf("without anything: got\n%s", got)
	}
}

func TestBadDomain(t *testing.T) {
	for _, d := range []string{"", "a b", "[192.0.2.1]", "x..y"} {
		if _, err := lint.Domain(t.Context(), d, lint.Options{}); err == nil {
			t.Errorf("%q was taken", d)
		}
	}
}

// TestManyIncludes: each of fifty records includes all that come after it. There are more ways through them than could
// ever be gone.
func TestManyIncludes(t *testing.T) {
	var zone strings.Builder
	zone.WriteString("example.org. TXT \"v=spf1 include:r0.example.org -all\"\n")
	for i := range 50 {
		record := "v=spf1"
		for j := i + 1; j < 50; j++ {
			record += fmt.Sprintf(" include:r%d.example.org", j)
		}
		fmt.Fprintf(&zone, "r%d.example.org. TXT \"%s\"\n", i, strings.Join(pieces(record+" -all"), `" "`))
	}
	got := online(t, "example.org", zone.String())
	if !strings.Contains(got, "in the worst case 1000 of 10 look-ups") {
		t.Errorf("got:\n%s", got)
	}
}

func pieces(s string) (out []string) {
	for len(s) > 255 {
		out, s = append(out, s[:255]), s[255:]
	}
	return append(out, s)
}

// FuzzRecord: whatever is pasted, there is an answer; a record that those who check mail would refuse has an error.
func FuzzRecord(f *testing.F) {
	f.Add("v=spf1 mx include:%{d}.x.example -all")
	f.Add("x TXT (\"v=DKIM1; k=ed25519; \" \"p=AAAA\")")
	f.Add("v=DMARC1\\; p=none; rua=mailto:a@b")
	f.Add("v=BIMI1; l=https://a/b.svg; a=")
	f.Fuzz(func(t *testing.T, text string) {
		found, err := lint.Record(text)
		if err != nil {
			return
		}
		bad := false
		for _, f := range found {
			bad = bad || f.Level == lint.Error
			if f.Text == "" || f.Level == lint.Trouble {
				t.Errorf("finding %+v", f)
			}
		}
		plain := strings.TrimSpace(text) == text && !strings.Contains(text, "\n")
		if _, err := spf.Parse(text); spf.IsRecord(text) && err != nil && !bad && plain {
			t.Errorf("%q: %v, but nothing was found: %s", text, err, show(found))
		}
		lint.Zone(text)
	})
}

// FuzzDomain: whatever a zone holds, the report is bounded and has no empty finding.
func FuzzDomain(f *testing.F) {
	for _, file := range []string{"06-spf-included", "10-keys", "11-dmarc", "12-mx"} {
		text, err := os.ReadFile("testdata/" + file + ".zone")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(dir, "zone")
		if _, err := resolver.ParseZone(strings.NewReader(text), file); err != nil {
			return
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found := offline(t, file, text, "version: STSv1\nmode: testing\nmx: a.example\nmax_age: 1\n")
		if len(found) > 1000 {
			t.Errorf("%d findings", len(found))
		}
		for _, f := range found {
			if f.Text == "" || f.Check == "" {
				t.Errorf("finding %+v", f)
			}
		}
	})
}
