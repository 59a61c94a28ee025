package smtp

import (
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// Under LMTP each recipient gets a message of its own, with its own trace and its own NOTIFY.
func TestLMTPEnvelopes(t *testing.T) {
	e, o := newTestEngine()
	e.Service = LMTP
	mailtest.Dialog(t, start(t, e, peer), `
		<- 220 ...
		-> LHLO c.example
		<~ 250-
		<~ 250-
		<~ 250-
		<~ 250-
		<~ 250-
		<~ 250-
		<~ 250-
		<~ 250-
		<~ 250 
		=> MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<chat@joursoir.net>\r\nRCPT TO:<x@many.example> NOTIFY=NEVER\r\nRCPT TO:<chat@joursoir.net>\r\nDATA\r\n
		<- 250 ...
		<- 250 ...
		<- 250 ...
		<- 250 ...
		<- 354 ...
		=> hi\r\n.\r\n
		<- 250 ...
		<- 250 ...
		<- 250 ...
		-> QUIT
		<- 221 ...
		<- EOF`)
	want := []struct{ to, notify string }{{"chat@joursoir.net", ""}, {"x@many.example", "NEVER"}, {"chat@joursoir.net", ""}}
	if len(o.mails) != len(want) {
		t.Fatalf("got %d mails, want %d", len(o.mails), len(want))
	}
	for i, w := range want {
		m := o.mails[i]
		if len(m.env.Recipients) != 1 || m.env.Recipients[0].String() != w.to || strings.Join(m.env.Notify, "|") != w.notify {
			t.Errorf("mail %d: got %v %q, want %s %q", i, m.env.Recipients, m.env.Notify, w.to, w.notify)
		}
		if !strings.Contains(m.text, " with UTF8LMTP id C15F841DD5\n\tfor <"+w.to+">; ") || m.body() != "hi\n" {
			t.Errorf("mail %d: got %q", i, m.text)
		}
	}
}
