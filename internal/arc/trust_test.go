package arc

import (
	"strings"
	"testing"

	"pennypost/internal/message"
)

func TestTrustedFrom(t *testing.T) {
	z := zone(t)
	text := letter
	for i := 1; i <= 3; i++ {
		text = sealed(t, text, i, z)
	}
	for _, c := range []struct {
		trust string
		want  int
	}{
		{"", 0},
		{"hop3.test", 3},
		{"HOP3.test. other.test", 3},
		{"hop3.test hop2.test", 2},
		{"hop3.test hop1.test", 3},
		{"hop1.test hop2.test", 0},
		{"hop1.test hop2.test hop3.test", 1},
		{"test", 0},
		{"sub.hop3.test", 0},
	} {
		if got := verify(t, text, z).TrustedFrom(strings.Fields(c.trust)); got != c.want {
			t.Errorf("trusting %q: got %d, want %d", c.trust, got, c.want)
		}
	}
	if got := verify(t, text+"x", z).TrustedFrom([]string{"hop3.test"}); got != 0 {
		t.Errorf("a chain that fails: got %d, want 0", got)
	}
}

// TestArrived has a list that changes a message between the check and its seal.
func TestArrived(t *testing.T) {
	z := zone(t)
	one := sealed(t, letter, 1, z)
	changed := one + "-- \nthe list\n"
	for _, c := range []struct {
		name, text string
		recorded   Result
		want       Result
	}{
		{"it passed", changed, Pass, Pass},
		{"it failed", changed, Fail, Fail},
		{"it was not checked", changed, "", Fail},
		{"it passed and the results were changed", strings.Replace(changed, "dmarc=pass", "dmarc=fail", 1), Pass, Fail},
		{"there is none", letter, Pass, None},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := verify(t, c.text, z).Arrived(c.recorded)
			if r.Result != c.want {
				t.Fatalf("got %s (%s), want %s", r.Result, r.Reason, c.want)
			}
			o := options(2)
			o.Chain = r
			set, err := Seal(message.Bytes([]byte(c.text)), o)
			if err != nil {
				t.Fatal(err)
			}
			want := Pass
			if c.want == Fail {
				want = Fail
			}
			if after := verify(t, string(set)+c.text, z); after.Result != want {
				t.Errorf("sealed: got %s (%s), want %s", after.Result, after.Reason, want)
			}
		})
	}
}
