package mailauth

import (
	"strings"
	"testing"

	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/spf"
)

// found is a report with something of everything.
var found = &Report{
	SPF: &spf.Report{Result: spf.SoftFail, Domain: "soft.example"},
	DKIM: []dkim.Result{
		{Verdict: dkim.Fail, Domain: "bank.example", Selector: "s"},
		{Verdict: dkim.Pass, Domain: "Example.ORG", Selector: "mail", Algorithm: "rsa-sha256", Identifier: "a@example.org"},
		{Verdict: dkim.Pass, Domain: "xn--bcher-kva.example"},
	},
	DMARC: &dmarc.Report{Result: dmarc.Fail, From: "bank.example", Policy: dmarc.Reject, Disposition: dmarc.Quarantine},
}

var troubled = &Report{
	SPF:   &spf.Report{Result: spf.TempError},
	DKIM:  []dkim.Result{{Verdict: dkim.TempError, Domain: "a.example"}, {Verdict: dkim.Pass, Domain: "b.example"}},
	DMARC: &dmarc.Report{Result: dmarc.TempError, From: "a.example"},
}

func TestRequirement(t *testing.T) {
	for _, c := range []struct {
		text   string
		report *Report
		want   Truth
	}{
		{"dkim=pass", found, True},
		{"dkim=fail", found, True},
		{"dkim=neutral", found, False},
		{"dkim!=neutral", found, True},
		{"spf=softfail", found, True},
		{"SPF = SoftFail", found, True},
		{"helo=none", found, True},
		{"dmarc=pass", found, False},
		{"dmarc=pass and dkim.domain=example.org", found, False},
		{"dkim=pass and dkim.domain=example.org", found, True},
		{"dkim.domain=bank.example", found, False}, // that signature does not match
		{"dkim.domain=bücher.example", found, True},
		{`dkim.identifier="a@example.org"`, found, True},
		{"dkim.selector=s", found, False},
		{"dkim.algorithm=rsa-sha256", found, True},
		{"spf.domain=soft.example", found, False},
		{"dmarc.from=bank.example", found, True},
		{"dmarc.policy=reject and dmarc.disposition=quarantine", found, True},
		{"not dmarc=pass", found, True},
		{"not not dmarc=pass", found, False},
		{"dmarc=pass or dkim=pass and spf=pass", found, False},
		{"(dmarc=fail or dkim=pass) and spf=pass", found, False},
		{"dmarc=fail or dkim=pass and spf=pass", found, True},
		{"not dmarc=pass and dkim=pass", found, True},
		{"not(dmarc=pass and dkim=pass)", found, True},
		{"dmarc=pass", troubled, Unknown},
		{"dmarc!=pass", troubled, Unknown},
		{"dmarc=temperror", troubled, True},
		{"dmarc=pass or dkim=pass", troubled, True},
		{"dmarc=pass and dkim=fail", troubled, Unknown},
		{"dmarc=pass and dkim.domain=b.example", troubled, Unknown},
		{"dkim.domain=a.example", troubled, Unknown},
		{"dkim.domain=b.example", troubled, True},
		{"spf=pass and helo=pass", troubled, False},
		{"dkim=none and spf=none and dmarc=none", &Report{}, True},
	} {
		q, err := ParseRequirement(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := q.Holds(c.report); got != c.want {
			t.Errorf("%s: got %d, want %d", c.text, got, c.want)
		}
	}
}

func TestRequirementErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    `"" is not spf, helo, dkim, arc or dmarc`,
		"dkmi=pass":                           `"dkmi" is not spf, helo, dkim, arc or dmarc`,
		"dkim=passed":                         `dkim is never "passed": it is none, pass, fail, policy, neutral, temperror, permerror`,
		"dmarc=softfail":                      `dmarc is never "softfail": it is none, pass, fail, temperror, permerror`,
		"dkim.d=x":                            `dkim has no "d": it has domain, selector, identifier, algorithm`,
		"dkim.=x":                             `dkim has no "": it has domain, selector, identifier, algorithm`,
		"dkim":                                "no = after dkim",
		"dkim pass":                           "no = after dkim",
		"dkim=":                               "no value after dkim",
		"dkim==pass":                          "no value after dkim",
		`dkim.domain=""`:                      "no value after dkim.domain",
		`dkim.domain="x`:                      "quoted string without an end",
		"dkim=pass spf=pass":                  `unexpected "spf"`,
		"dkim=pass)":                          `unexpected ")"`,
		"(dkim=pass":                          "no closing parenthesis",
		"dkim=pass and":                       `"" is not spf, helo, dkim, arc or dmarc`,
		"and dkim=pass":                       `"and" is not spf, helo, dkim, arc or dmarc`,
		"! dkim=pass":                         `"!" is not spf, helo, dkim, arc or dmarc`,
		strings.Repeat("(", 60):               "more than 50 levels",
		strings.Repeat("not ", 60):            "more than 50 levels",
		strings.Repeat(" ", maxRequirement+1): "longer than 4096 bytes",
	} {
		if q, err := ParseRequirement(text); err == nil || err.Error() != want {
			t.Errorf("%.40s: got %v, %v; want %q", text, q, err, want)
		}
	}
}

// What is read means the same in parentheses and is the opposite after "not".
func FuzzRequirement(f *testing.F) {
	f.Add("dmarc=pass and dkim.domain=example.org")
	f.Add(`not (spf!=fail or dkim.identifier="a\"b") and helo=none`)
	f.Add("((dkim=pass")
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseRequirement(s)
		if err != nil {
			return
		}
		for _, r := range []*Report{found, troubled, {}} {
			same, err := ParseRequirement("(" + s + ") and (" + s + ")")
			if err == nil && same.Holds(r) != q.Holds(r) {
				t.Errorf("%q: twice it is %d", s, same.Holds(r))
			}
			other, err := ParseRequirement("not (" + s + ")")
			if err == nil && other.Holds(r) != -q.Holds(r) {
				t.Errorf("%q: not is %d", s, other.Holds(r))
			}
		}
	})
}
