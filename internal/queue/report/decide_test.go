package report

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

func newReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }

// Who is told of what: each action against NOTIFY, for one of us, for a stranger and for the null sender.
func TestDecide(t *testing.T) {
	const all = "failed delayed delivered relayed expanded"
	tests := []struct{ name, sender, user, notify, want string }{
		{"default, one of us", "a@a.example", "a", "", "failed delayed"},
		{"default, a stranger", "a@a.example", "", "", "failed delayed"},
		{"failure only", "a@a.example", "a", "FAILURE", "failed"},
		{"delay only", "a@a.example", "a", "delay", "delayed"},
		{"everything", "a@a.example", "a", "SUCCESS,FAILURE,DELAY", all},
		{"success, one of us", "a@a.example", "a", "SUCCESS", "delivered relayed expanded"},
		{"success, a stranger", "a@a.example", "", "SUCCESS", ""},
		{"never", "a@a.example", "a", "NEVER", ""},
		{"null sender", "", "", "", "failed"},
		{"null sender, whatever it asks for", "", "a", "NEVER", "failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Facts{Postmaster: address(t, "postmaster@here.example"), Envelope: &envelope.Envelope{Sender: address(t, tt.sender),
				Conn: envelope.Connection{RemoteIP: "192.0.2.1", AuthUser: tt.user}}}
			for _, a := range strings.Fields(all) {
				f.Recipients = append(f.Recipients, Recipient{Address: address(t, "b@b.example"), Notify: tt.notify, Action: Action(a)})
			}
			f.Recipients = append(f.Recipients, Recipient{Address: address(t, "c@b.example"), Notify: tt.notify})
			to, told := Decide(f)
			var got []string
			for _, r := range told {
				got = append(got, string(r.Action))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("told of %q, want %q", got, tt.want)
			}
			if want := map[bool]string{true: "postmaster@here.example", false: tt.sender}[tt.sender == ""]; to.String() != want {
				t.Errorf("told is %q, want %q", to, want)
			}
		})
	}
}

// A report that fails goes to the postmaster, and when that fails too there is no third.
func TestReportsEnd(t *testing.T) {
	f := Facts{Host: "here.example", Postmaster: address(t, "postmaster@here.example"), MessageID: "<1@here.example>",
		Now: time.Unix(0, 0).UTC(), Envelope: &envelope.Envelope{Sender: address(t, "a@a.example")},
		Message:    message.Bytes([]byte("Subject: x\n\n")),
		Recipients: []Recipient{{Address: address(t, "b@b.example"), Action: Failed, Err: status.Errorf(status.NoUser, "no")}}}
	var to []string
	for range 5 {
		m, e, err := Make(f)
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			break
		}
		to = append(to, e.Recipients[0].String())
		f.Message, f.Envelope = m, e
		f.Recipients = []Recipient{{Address: e.Recipients[0], Action: Failed, Err: status.Errorf(status.NoUser, "no")}}
	}
	if got := strings.Join(to, " "); got != "a@a.example postmaster@here.example" {
		t.Errorf("told were %q", got)
	}
	f.Postmaster = envelope.Address{}
	f.Recipients[0].Address = address(t, "b@b.example")
	if m, _, _ := Make(f); m != nil {
		t.Error("without a postmaster there is somebody to tell of a report that failed")
	}
}

// Each class of failure has its own words; a code nobody knows has some.
func TestCauses(t *testing.T) {
	tests := []struct{ line, reply, want string }{
		{"550 5.1.1 x", "", "There is no such mailbox."},
		{"550 5.1.8 x", "", "does not accept your own address"},
		{"552 5.2.2 x", "", "mailbox is full"},
		{"552 5.3.4 x", "", "too big"},
		{"550 5.7.1 x", "", "refused the message by its own rules"},
		{"450 4.7.1 x", "", "put the message off by its own rules"},
		{"550 5.7.26 x", "", "comes from your domain"},
		{"451 4.4.3 x", "", "looked up in DNS"},
		{"451 4.4.1 x", "", "No connection"},
		{"554 5.4.6 x", "", "in a circle"},
		{"556 5.1.10 x", "", "takes no mail at all"},
		{"550 5.7.30 x", "", "encrypted way"},
		{"550 x", "550 User unknown", "There is no such mailbox."},
		{"550 x", "550 the mailbox is full, dear", "mailbox is full"},
		{"552 x", "552 odd", "mailbox is full"},
		{"554 x", "554 odd", "did not take the message"},
		{"550 5.9.9 x", "", "did not take the message"},
		{"550 5.6.99 x", "", "in the form it has"},
	}
	for _, tt := range tests {
		e, ok := status.ParseLine(tt.line)
		if !ok {
			t.Fatal(tt.line)
		}
		if got := causeOf(Recipient{Err: e, Reply: tt.reply}); !strings.Contains(got.what, tt.want) || got.todo == "" {
			t.Errorf("%s %s: got %q, want %q", tt.line, tt.reply, got.what, tt.want)
		}
	}
	for code, other := range same {
		if _, ok := causes[other]; !ok || causes[code].what != "" {
			t.Errorf("%s is said to be as %s", code, other)
		}
	}
}

func TestRemote(t *testing.T) {
	for host, want := range map[string]string{
		"mx.example.net[192.0.2.1]:25": "mx.example.net", "mx.example.net": "mx.example.net", "mx.example.net:2525": "mx.example.net",
		"192.0.2.1:25": "[192.0.2.1]", "192.0.2.1": "[192.0.2.1]", "[192.0.2.1]": "[192.0.2.1]", "[2001:db8::1]:25": "[IPv6:2001:db8::1]",
		"2001:db8::1": "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]": "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]:2525": "[IPv6:2001:db8::1]",
		"pipe": "", "office": "", "-": "", "": "", "a\nb.example": "", "[nothing]": "",
	} {
		if got := remote(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

// Sizes: beyond the limits something is left out and said to be.
func TestLimits(t *testing.T) {
	tests := []struct {
		name, msg, want, not string
	}{
		{"whole", "Subject: x\n\nbody-text\n", "body-text", "Only the header"},
		{"too big", "Subject: x\n\n" + strings.Repeat("body-text\n", MaxFull/10), "the whole is too big", "body-text"},
		{"long line", "Subject: x\n\nbody-text " + strings.Repeat("x", 1000), "rest cannot be sent", "body-text"},
		{"NUL", "Subject: x\n\nbody-text\x00\n", "rest cannot be sent", "body-text"},
		{"CR", "Subject: x\n\nbody-text\rx\n", "rest cannot be sent", "body-text"},
		{"no header", "body-text\n", "The message is attached", "Only"},
		{"long header", "Subject: x\n" + strings.Repeat("X-Y: "+strings.Repeat("z", 60)+"\n", 1000) + "\nbody-text", "beginning of the message's header", "body-text"},
		{"endless header", strings.Repeat("X-Y: "+strings.Repeat("z", 60)+"\n", 20000), "beginning of the message's header", "nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Facts{Host: "here.example", MessageID: "<1@here.example>", Message: message.Bytes([]byte(tt.msg)),
				Envelope:   &envelope.Envelope{Sender: address(t, "a@a.example"), Ret: "FULL"},
				Recipients: []Recipient{{Address: address(t, "b@b.example"), Action: Failed, Err: status.Errorf(status.NoUser, "no")}}}
			m, e, err := Make(f)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(m.Reader())
			if err := wellFormed(text, f, e); err != nil {
				t.Error(err)
			}
			flat := strings.Join(strings.Fields(string(text)), " ")
			if !strings.Contains(flat, tt.want) || strings.Contains(flat, tt.not) || len(text) > MaxFull+5000 {
				t.Errorf("%d bytes: want %q and not %q in\n%.3000s", len(text), tt.want, tt.not, text)
			}
		})
	}
}

// Many recipients: all in the part for programs, some of them explained.
func TestManyRecipients(t *testing.T) {
	f := Facts{Host: "here.example", MessageID: "<1@here.example>", Message: message.Bytes([]byte("Subject: x\n\n")),
		Envelope: &envelope.Envelope{Sender: address(t, "a@a.example")}}
	for range 3000 {
		f.Recipients = append(f.Recipients, Recipient{Address: address(t, "b@b.example"), Action: Failed, Err: status.Errorf(status.NoUser, "no")})
	}
	m, e, err := Make(f)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(m.Reader())
	if err := wellFormed(text, f, e); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(text), "There is no such mailbox"); n != maxDetails {
		t.Errorf("%d are explained", n)
	}
}

// A boundary that stands in the message is not used.
func TestBoundary(t *testing.T) {
	d := draft{Facts: Facts{MessageID: "<1@x>"}}
	first := d.boundary(nil)
	if second := d.boundary([]part{{body: "--" + first + "\n"}}); second == first || strings.Contains(second, first) {
		t.Errorf("got %q twice", second)
	}
}

// Whatever the message, the envelope and the server hold, the report is well-formed.
func FuzzMake(f *testing.F) {
	f.Add("Subject: =?utf-8?q?x?=\nMessage-ID: <a@b>\n\nbody\n", "550-5.1.1 no\n550 x", "mx.example[192.0.2.1]:25", "id+3D", "rfc822;a+40b", "b", "FULL", true, 1)
	f.Add("Subject: \xff\x00\r\n--report-\n", "550 \r\nTo: x", "[IPv6:::1]", "\r\nX: y", "utf-8;\\x{e9}", "\u00e9 \"", "HDRS", false, 2)
	f.Add("\n", "", "", "", "", "", "", true, 3)
	f.Fuzz(func(t *testing.T, msg, reply, host, envid, orcpt, local, ret string, utf8 bool, kind int) {
		rcpt := envelope.Address{Local: local, Domain: "b.example"}
		if a, err := envelope.Parse(rcpt.String()); err != nil || a.IsNull() {
			return // no such address can arise
		}
		actions := []Action{Failed, Delayed, Delivered, Relayed, Expanded}
		e, _ := status.ParseLine("550 5.1.1 " + reply)
		facts := Facts{Host: host, MessageID: "<1@here.example>", Message: message.Bytes([]byte(msg)),
			Envelope: &envelope.Envelope{Sender: address(t, "a@a.example"), EnvID: envid, Ret: ret, SMTPUTF8: utf8},
			Recipients: []Recipient{
				{Address: rcpt, ORCPT: orcpt, Action: actions[uint(kind)%5], Err: e, Reply: reply, Host: host, Notify: "SUCCESS,FAILURE,DELAY"},
				{Address: rcpt, ORCPT: orcpt, Action: Failed, Err: e, Host: host},
			}}
		m, out, err := Make(facts)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(m.Reader())
		if err := wellFormed(text, facts, out); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	})
}
