package explain

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pennypost/internal/arc"
	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
	"pennypost/internal/spf"
)

// full is a report in which everything is found that there is to tell.
func full() *mailauth.Report {
	return &mailauth.Report{
		SPF: &spf.Report{Result: spf.Pass, Reason: "r", Scope: spf.MailFrom, Domain: "other.test",
			Sender: "a@other.test", Explanation: "e",
			Steps: []spf.Step{
				{Domain: "other.test", Record: "v=spf1 a:%{d} <all>",
					Questions: []spf.Question{{Name: "other.test", Type: "TXT", Answers: []string{"x"}}}},
				{Domain: "other.test", Term: "a:%{d}", Target: "other.test", Matched: true, Lookups: 1, Voids: 2, Note: "n",
					Questions: []spf.Question{{Name: "other.test", Type: "A", Error: "no such domain", Void: true}}},
				{Depth: 1, Domain: "broken.test", Record: "v=spf1 moo", Note: "broken"}, {Domain: "x.test", Note: "no record"},
			}},
		HELO: &spf.Report{Result: spf.None, Scope: spf.Helo},
		DKIM: []dkim.Result{
			{Verdict: dkim.Fail, Reason: "r", Domain: "author.test", Selector: "s", Algorithm: "rsa-sha256",
				Canon: "simple/simple", Length: 3,
				Names: []string{"From"}, Time: time.Unix(1, 0), Expires: time.Unix(2, 0), Query: "q",
				Records: 2, Record: 1, Key: "k", Bits: 1024,
				WantBody: "w", GotBody: "g", Open: 7, Canonical: []byte("from:a\r\nsubject:b")},
			{Verdict: dkim.TempError, Reason: "r", Domain: "later.test", Query: "q", Length: -1},
			{Verdict: dkim.PermError, Reason: "no v= tag"},
			{Verdict: dkim.Neutral, Reason: "not checked"},
		},
		ARC: &arc.Report{Result: arc.Fail, Reason: "r", Instances: 1, Sets: []arc.Set{{
			Instance: 1, Results: "one;\r\n\tnone", CV: arc.None,
			Seal:    arc.Signature{OK: true, Domain: "one.test"},
			Message: arc.Signature{Reason: "no", GotBody: "g", Canonical: []byte("x")}}}},
		DMARC: &dmarc.Report{Mode: dmarc.Both, Result: dmarc.Fail, Reason: "r", From: "author.test",
			PolicyDomain: "author.test", Tag: "p",
			Record: &dmarc.Record{Text: "t", Problems: []string{"odd"}}, Policy: dmarc.Reject, Disposition: dmarc.NoPolicy, Missing: true,
			Walks: []dmarc.Walk{{Start: "author.test", Org: "author.test", Rule: "r", Queries: []dmarc.Query{
				{Domain: "author.test", Texts: []string{"1", "2"}}, {Domain: "test", Absent: true}, {Domain: "x", Error: "e"}}}},
			Alignments: []dmarc.Alignment{{Auth: dmarc.Auth{Method: "spf", Domain: "other.test", Pass: true},
				Why: "nothing in common", Strict: true}},
			Other: &dmarc.Report{Result: dmarc.None, From: "author.test"}, Differ: "they differ"},
		Override: &mailauth.Override{Instance: 1, Sealer: "one.test", Selector: "s"},
		Removed:  []message.Field{{Name: "Authentication-Results", Raw: []byte("Authentication-Results: me; spf=pass\n")}},
	}
}

// Each step is one JSON object of its own members: none comes twice, and none is null or an empty text.
func TestStepsAreObjects(t *testing.T) {
	header := message.Header{Fields: []message.Field{{Name: "Subject", Raw: []byte("Subject: x\n")}}}
	in := Input{mailauth.Session{IP: netip.MustParseAddr("192.0.2.1"), Helo: "h", Sender: "a@other.test"},
		header, time.Unix(3, 0), []dkim.Damage{
			{Body: []dkim.Repair{{Kind: dkim.RepairLines, Lines: 2}}, HeaderSearched: true,
				WantHeader: "w", GotHeader: "g"},
			{Foreign: true},
		}}
	kinds := map[string]bool{}
	for _, s := range Message(full(), in) {
		kinds[s.Method+" "+s.Name] = true
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(strings.NewReader(string(line)))
		seen := map[string]bool{}
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		for d.More() {
			name, err := d.Token()
			var value json.RawMessage
			if err == nil {
				err = d.Decode(&value)
			}
			if err != nil || seen[name.(string)] || string(value) == "null" || string(value) == `""` {
				t.Errorf("%s: member %v is %s (%v)", line, name, value, err)
			}
			seen[name.(string)] = true
		}
		if !seen["method"] || !seen["step"] || !seen["text"] {
			t.Errorf("%s lacks what all steps have", line)
		}
	}
	for _, k := range []string{"session session", "spf question", "spf record", "spf term", "spf result", "helo result",
		"dkim signature", "dkim key",
		"dkim body", "dkim header", "dkim note", "dkim uncovered", "dkim repair", "dkim result",
		"arc set", "arc seal", "arc message", "arc result",
		"dmarc author", "dmarc query", "dmarc organisation", "dmarc problem", "dmarc alignment", "dmarc policy",
		"dmarc result", "dmarc differ",
		"dmarc override", "message removed", "verdict verdict"} {
		if !kinds[k] {
			t.Errorf("there is no step %q", k)
		}
	}
}

func TestVerdict(t *testing.T) {
	fail := func(change func(r *mailauth.Report)) *mailauth.Report {
		r := full()
		r.DKIM, r.Override = r.DKIM[:1], nil
		r.DMARC.Disposition = dmarc.Reject
		change(r)
		return r
	}
	for _, c := range []struct {
		name, want string
		r          *mailauth.Report
		damage     []dkim.Damage
	}{
		{"fails", "Nothing vouches for author.test: SPF passes for other.test, which is not aligned, " +
			"the signature of author.test does not hold (r); " +
			"its owner wants such mail rejected (p of author.test).", fail(func(*mailauth.Report) {}), nil},
		{"trusted", "but one.test, who is trusted, found that it passed before it was changed, so it goes on.",
			fail(func(r *mailauth.Report) {
				r.Override = full().Override
			}), nil},
		{"tested", "its owner only tests the policy reject (p of author.test), so that it is quarantine now.",
			fail(func(r *mailauth.Report) {
				r.DMARC.Disposition = dmarc.Quarantine
			}), nil},
		{"nothing done", "its owner wants nothing done about it.", fail(func(r *mailauth.Report) {
			r.DMARC.Policy, r.DMARC.Disposition = dmarc.NoPolicy, dmarc.NoPolicy
		}), nil},
		{"no policy", "No policy of author.test says what to do with the message: r; SPF was not asked, there is no signature.",
			&mailauth.Report{DMARC: &dmarc.Report{Result: dmarc.None, From: "author.test", Reason: "r"}}, nil},
		{"no author", "The message is to be rejected, whatever anybody's policy: r.",
			&mailauth.Report{DMARC: &dmarc.Report{Result: dmarc.PermError, Disposition: dmarc.Reject, Reason: "r"}}, nil},
		{"trouble", "Whether the message is from author.test cannot be told now: r.",
			&mailauth.Report{DMARC: &dmarc.Report{Result: dmarc.TempError, From: "author.test", Reason: "r"}}, nil},
		{"many signatures", "the signature of author.test does not hold (r), that of later.test does not count (temperror: r), " +
			"that of nobody does not count (permerror: no v= tag), and 1 more;",
			fail(func(r *mailauth.Report) { r.DKIM = full().DKIM }), nil},
		{"damaged", "does not hold (r, but would if the last 2 lines are removed and Subject is folded);",
			fail(func(*mailauth.Report) {}),
			[]dkim.Damage{{Body: []dkim.Repair{{Kind: dkim.RepairLines, Lines: 2}},
				Header: []dkim.Repair{{Kind: dkim.RepairFold, Field: "Subject"}}}}},
		{"damaged, half of it known", "does not hold (r);", fail(func(*mailauth.Report) {}),
			[]dkim.Damage{{Body: []dkim.Repair{{Kind: dkim.RepairLines, Lines: 2}}}}},
	} {
		if got := verdict(c.r, Input{Damage: c.damage}).Text; !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
