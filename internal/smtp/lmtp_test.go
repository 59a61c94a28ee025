package smtp

import (
	"context"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/status"
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

// examiner is an office that looks at messages: it puts a field on top, and refuses or drops what says so.
type examiner struct {
	*office
	examined int
}

func (x *examiner) Examine(_ context.Context, f *Facts, m *message.Message) (*message.Message, error) {
	x.examined++
	h, err := m.Header()
	switch {
	case err != nil:
		return nil, err
	case h.Get("Subject") == "bad":
		return nil, status.Errorf(status.NoPerm, "%d recipients get nothing", len(f.Envelope.Recipients))
	case h.Get("Subject") == "drop":
		return nil, nil
	}
	return m.Prepend([]byte("X-Seen: yes\n")), nil
}

// A message is looked at once, whatever the number of its recipients, and what comes of it is for all of them.
func TestExamine(t *testing.T) {
	e, o := newTestEngine()
	x := &examiner{office: o}
	e.Handler, e.Service = x, LMTP
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
		-> MAIL FROM:<a@b.example>
		<- 250 ...
		-> RCPT TO:<one@many.example>
		<- 250 ...
		-> RCPT TO:<two@many.example>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> Subject: bad
		-> .
		<- 550 5.7.1 2 recipients get nothing
		<- 550 5.7.1 2 recipients get nothing
		-> MAIL FROM:<a@b.example>
		<- 250 ...
		-> RCPT TO:<one@many.example>
		<- 250 ...
		-> BDAT 15 LAST
		-> Subject: drop
		<- 250 2.0.0 ...
		-> MAIL FROM:<a@b.example>
		<- 250 ...
		-> RCPT TO:<one@many.example>
		<- 250 ...
		-> RCPT TO:<two@many.example>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> Subject: good
		-> .
		<- 250 2.0.0 ...
		<- 250 2.0.0 ...
		-> QUIT
		<- 221 ...
		<- EOF`)
	if x.examined != 3 || len(o.mails) != 2 {
		t.Fatalf("examined %d times, %d mails", x.examined, len(o.mails))
	}
	for i, to := range []string{"one", "two"} {
		want := "X-Seen: yes\nReceived: from c.example (client.example [192.0.2.7])\n" +
			"\tby smtp.joursoir.net with LMTP id C15F841DD5\n\tfor <" + to + "@many.example>; Tue, 24 Nov 2026 05:40:00 +0000\nSubject: good\n"
		if o.mails[i].text != want {
			t.Errorf("mail %d: got %q\nwant %q", i, o.mails[i].text, want)
		}
	}
}
