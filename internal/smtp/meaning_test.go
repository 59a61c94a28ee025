package smtp

import (
	"strings"
	"testing"
)

func TestMeaning(t *testing.T) {
	for _, tt := range []struct {
		code     int
		enhanced string
		want     string
	}{
		{550, "5.7.1", "550: refused: no such mailbox, or by policy (no, and it will stay so)\n5.7.1: the sender may not send to this recipient"},
		{250, "", "250: done (yes)"},
		{499, "4.4.99", "499: not in the standards (not now: try again later)\n4.4.99: about the network or the routing"},
		{450, "4.9.1", "450: the mailbox cannot be used now: try later (not now: try again later)\n4.9.1: not in the standards"},
		{550, "2.0.0", "550: refused: no such mailbox, or by policy (no, and it will stay so)\n2.0.0: not an enhanced code that fits"},
		{550, "x", "550: refused: no such mailbox, or by policy (no, and it will stay so)\nx: not an enhanced code that fits"},
		{999, "", "999: not a reply code of SMTP"},
	} {
		if got := strings.Join(Meaning(tt.code, tt.enhanced), "\n"); got != tt.want {
			t.Errorf("%d %s: got\n%s\nwant\n%s", tt.code, tt.enhanced, got, tt.want)
		}
	}
}
