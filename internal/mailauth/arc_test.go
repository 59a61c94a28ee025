package mailauth

import (
	"strings"
	"testing"

	"pennypost/internal/arc"
	"pennypost/internal/message"
)

func TestRecorded(t *testing.T) {
	for _, c := range []struct {
		name, header string
		want         string
		arc          arc.Result
	}{
		{"nothing", "", "mx.test; none", ""},
		{"ours", "Authentication-Results: mx.test; spf=pass smtp.mailfrom=a@b; arc=pass\n",
			"mx.test; spf=pass smtp.mailfrom=a@b; arc=pass", arc.Pass},
		{"two of ours", "Authentication-Results: MX.Test.; spf=pass\nAuthentication-Results: mx.test; arc=fail\n",
			"mx.test; spf=pass; arc=fail", arc.Fail},
		{"of others", "Authentication-Results: other.test; arc=pass\nARC-Authentication-Results: i=1; mx.test; arc=pass\n",
			"mx.test; none", ""},
		{"a broken one", "Authentication-Results: mx.test; arc=pass =\n", "mx.test; none", ""},
		{"arc twice", "Authentication-Results: mx.test; arc=pass; arc=pass\n", "mx.test; arc=pass; arc=pass", ""},
		{"a bad value", "Authentication-Results: mx.test; spf=pass smtp.mailfrom=\"a\\\"b c\"\n",
			`mx.test; spf=pass smtp.mailfrom="a\"b c"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Recorded(message.Bytes([]byte(c.header+"From: a@b\n\nx\n")), "mx.test")
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(a.Payload()), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := RecordedARC(a); got != c.arc {
				t.Errorf("arc: got %q, want %q", got, c.arc)
			}
		})
	}
}

// TestTrusted has chains that pass as far as arc is concerned: which of their results take the place of ours?
func TestTrusted(t *testing.T) {
	set := func(i int, sealer, results string) arc.Set {
		s := arc.Set{Instance: i, Results: results}
		s.Seal.Domain, s.Seal.Selector = sealer, "s"
		s.Message.Names = []string{"from"}
		return s
	}
	const pass = "x; spf=fail; dmarc=pass (p=reject) header.from=Author.test"
	const fail = "x; dmarc=fail header.from=author.test"
	for _, c := range []struct {
		name  string
		sets  []arc.Set
		trust string
		want  int // instance, 0 for none
	}{
		{"nobody", []arc.Set{set(1, "a.test", pass)}, "", 0},
		{"the only one", []arc.Set{set(1, "a.test", pass)}, "a.test", 1},
		{"the oldest of those who say so", []arc.Set{set(1, "a.test", pass), set(2, "b.test", pass)}, "a.test b.test", 1},
		{"only the newest is trusted", []arc.Set{set(1, "a.test", pass), set(2, "b.test", fail)}, "b.test", 0},
		{"the newest saw the pass", []arc.Set{set(1, "a.test", fail), set(2, "b.test", pass)}, "b.test", 2},
		{"one between is not trusted", []arc.Set{set(1, "a.test", pass), set(2, "x.test", fail), set(3, "b.test", fail)},
			"a.test b.test", 0},
		{"it found another result", []arc.Set{set(1, "a.test", fail)}, "a.test", 0},
		{"about another author", []arc.Set{set(1, "a.test", "x; dmarc=pass header.from=sub.author.test")}, "a.test", 0},
		{"about no author", []arc.Set{set(1, "a.test", "x; dmarc=pass")}, "a.test", 0},
		{"about two", []arc.Set{set(1, "a.test", "x; dmarc=pass header.from=author.test header.from=b.test")}, "a.test", 0},
		{"two results", []arc.Set{set(1, "a.test", pass+"; dmarc=fail header.from=author.test")}, "a.test", 0},
		{"in a comment", []arc.Set{set(1, "a.test", "x; dmarc=fail (; dmarc=pass) header.from=author.test")}, "a.test", 0},
		{"a version of tomorrow", []arc.Set{set(1, "a.test", "x 2; dmarc=pass header.from=author.test")}, "a.test", 0},
		{"unreadable", []arc.Set{set(1, "a.test", "x; dmarc=pass header.from=author.test; (")}, "a.test", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &arc.Report{Result: arc.Pass, Instances: len(c.sets), Sets: c.sets}
			got := 0
			if o := trusted(r, "author.test", strings.Fields(c.trust)); o != nil {
				got = o.Instance
			}
			if got != c.want {
				t.Errorf("got set %d, want %d", got, c.want)
			}
			r.Sets[len(r.Sets)-1].Message.Names = nil
			if o := trusted(r, "author.test", strings.Fields(c.trust)); o != nil {
				t.Errorf("From is not signed: got %+v, want none", o)
			}
		})
	}
}
