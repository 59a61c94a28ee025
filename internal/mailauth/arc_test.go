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
