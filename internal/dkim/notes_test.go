package dkim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pennypost/internal/message"
)

func TestUncovered(t *testing.T) {
	z := testZone(t)
	text := "From: a@example.org\nTo: b\nContent-Type: text/plain\nSubject: x\nSubject: y\nReceived: x\n\n12345\n"
	gaps := func(tags string) string {
		m := message.Bytes([]byte(resign(t, text, tags)))
		o := z.options()
		o.Partial = true
		r, err := Verify(t.Context(), m, o)
		if err != nil || len(r) != 1 || r[0].Verdict != Pass {
			t.Fatal(r, err)
		}
		h, err := m.Header()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, g := range r[0].Uncovered(h) {
			out = append(out, fmt.Sprintf("%s:%s%d", g.Kind, g.Name, int64(g.Count)+g.Bytes))
		}
		return strings.Join(out, " ")
	}
	rest := " add:Sender0 add:Reply-To0 add:Date0 add:Cc0 add:Message-ID0 add:In-Reply-To0 add:References0" +
		" add:MIME-Version0 add:Content-Transfer-Encoding0 add:List-Unsubscribe0"
	with := func(h, more string) string { return strings.Replace(base, "from:to", h, 1) + more }
	for _, c := range []struct{ name, tags, want string }{
		{"two", base, "field:Subject2 field:Content-Type1 add:From0" + strings.Replace(rest, "add:Cc0", "add:To0 add:Cc0", 1)},
		{"l=", with("from:from:to:to:subject:subject:subject:content-type:content-type", " l=3;"), "body:4" + rest},
		{"one of two", with("From:FROM:to:to:subject:content-type:content-type", ""), "field:Subject1" + rest},
	} {
		if got := gaps(c.tags); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestNotes(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	now := at(1_000_000)
	for _, c := range []struct {
		name string
		r    Result
		want string
	}{
		{"nothing", Result{Bits: 2048, Records: 1, Record: 1}, ""},
		{"ed25519", Result{Bits: 256}, ""},
		{"weak", Result{Bits: 1024}, "the key has 1024 bits; 2048 are the least one should make today"},
		{"testing", Result{Testing: true}, "the key is in test mode (t=y)"},
		{"records", Result{Records: 3, Record: 2, Query: "a._domainkey.b"}, "there are 3 TXT records at a._domainkey.b: number 2 was used"},
		{"no key in records", Result{Records: 2, Query: "a._domainkey.b"}, "there are 2 TXT records at a._domainkey.b"},
		{"times", Result{Time: at(1_000_000 - 100_000), Expires: at(1_000_000 + 7300)}, "signed 1 day ago|expires in 2 hours"},
		{"over", Result{Time: at(999_990), Expires: at(999_900)}, "signed less than a minute ago|expired 1 minute ago"},
		{"to come", Result{Time: at(2_000_000)}, ""},
	} {
		if got := strings.Join(c.r.Notes(now), "|"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
