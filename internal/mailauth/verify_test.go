package mailauth

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pennypost/internal/dmarc"
	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

const zone = `
example.org.            TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.example.org.     TXT "v=DMARC1; p=reject; sp=quarantine"
sub.example.org.        A   192.0.2.9
mail.example.org.       TXT "v=spf1 a -all"
mail.example.org.       A   192.0.2.1
example.net.            TXT "v=spf1 +all"
evil.example.           TXT "v=spf1 moo\013\010From:\032x -all"
_dmarc.evil.example.    TXT "v=DMARC1; p=none"
;! servfail _dmarc.down.example.
`

func read(t testing.TB, m *message.Message) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(m.Reader()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each session gets the results of its checks, and nothing else of the message changes.
func TestVerifySession(t *testing.T) {
	client, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("203.0.113.9")
	dns := mailtest.Zone(t, zone)
	for _, c := range []struct {
		name    string
		session Session
		from    string
		mode    dmarc.Mode
		want    string
		log     string
	}{
		{"aligned", Session{IP: client, Helo: "mail.example.org", Sender: "alice@example.org"}, "alice@example.org", "",
			`spf=pass smtp.mailfrom=alice@example.org;
			spf=pass smtp.helo=mail.example.org;
			dkim=none;
			dmarc=pass header.from=example.org`,
			"[spf=pass helo=pass dkim=none dmarc=pass author=example.org disposition=none]"},
		{"forged", Session{IP: other, Helo: "[203.0.113.9]", Sender: "x@example.net"}, "alice@example.org", "",
			`spf=pass smtp.mailfrom=x@example.net;
			spf=none reason="an address literal is not a domain" smtp.helo="[203.0.113.9]";
			dkim=none;
			dmarc=fail reason="nothing that passes is aligned with example.org" header.from=example.org policy.dmarc=reject`, ""},
		{"null sender", Session{IP: client, Helo: "mail.example.org"}, "a@sub.example.org", "",
			`spf=pass smtp.helo=mail.example.org;
			dkim=none;
			dmarc=pass header.from=sub.example.org`, ""},
		{"quarantine", Session{IP: other, Sender: "x@example.org"}, "a@sub.example.org", "",
			`spf=fail reason="-all matched in the record of example.org" smtp.mailfrom=x@example.org;
			dkim=none;
			dmarc=fail reason="nothing that passes is aligned with sub.example.org" header.from=sub.example.org policy.dmarc=quarantine`, ""},
		{"no client", Session{}, "a@example.org", "",
			`dkim=none;
			dmarc=fail reason="nothing that passes is aligned with example.org" header.from=example.org policy.dmarc=reject`, ""},
		{"trusted", Session{IP: other, Helo: "x", Sender: "a@example.org", Trusted: true}, "a@example.org", "", `dkim=none`, ""},
		{"two authors", Session{IP: client, Sender: "alice@example.org"}, "a@example.org, b@example.net", "",
			`spf=pass smtp.mailfrom=alice@example.org;
			dkim=none;
			dmarc=permerror reason="the From field has addresses of 2 domains" policy.dmarc=reject`, ""},
		{"trouble", Session{}, "a@down.example", "",
			fmt.Sprintf(`dkim=none;
			dmarc=temperror reason="look up TXT \"_dmarc.down.example\" at %s: server failure" header.from=down.example`, "ZONE"), ""},
		{"modes differ", Session{}, "a@gone.example.org", dmarc.Both,
			`dkim=none;
			dmarc=fail reason="nothing that passes is aligned with gone.example.org" header.from=gone.example.org policy.dmarc=quarantine`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "Received: from a\nFrom: " + c.from + "\nSubject: hi\n\nbody\n"
			m, r, err := Verify(context.Background(), message.Bytes([]byte(text)), Options{
				IDs: []string{"mx.example.com"}, Resolver: dns, Session: c.session, Mode: c.mode})
			if err != nil {
				t.Fatal(err)
			}
			got := read(t, m)
			if want := string(r.Field.Format()) + text; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			want := "mx.example.com; " + strings.Join(strings.Fields(c.want), " ")
			got = r.Field.body()
			if i := strings.Index(got, `\" at `); i > 0 {
				got = got[:i+6] + "ZONE" + got[i+6+strings.Index(got[i+6:], ":"):]
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if got := fmt.Sprint(r.Attrs()); c.log != "" && got != c.log {
				t.Errorf("log: got %s, want %s", got, c.log)
			}
		})
	}
}

// Hostile senders, greetings and records stay inside of their values.
func TestHostileSession(t *testing.T) {
	dns := mailtest.Zone(t, zone)
	for _, s := range []Session{
		{Sender: "\"x\r\nFrom: y\"@evil.example", Helo: "h; dmarc=pass\r\nSubject: z"},
		{Sender: "a;b=(c\"@evil.example", Helo: strings.Repeat("x", 2000)},
		{Sender: "\xff\xfe@evil.example", Helo: "\x00"},
	} {
		s.IP = netip.MustParseAddr("2001:db8::1")
		text := "From: a@evil.example\n\nbody\n"
		m, r, err := Verify(context.Background(), message.Bytes([]byte(text)), Options{
			IDs: []string{"mx.example.com"}, Resolver: dns, Session: s, ReceivedSPF: true})
		if err != nil {
			t.Fatal(err)
		}
		h, err := m.Header()
		if err != nil || len(h.Fields) != 3 || !h.Fields[0].Is(FieldName) || !h.Fields[1].Is(ReceivedSPFName) || !h.Fields[2].Is("From") {
			t.Fatalf("got %q, %v", read(t, m), err)
		}
		if again, err := ParseAuthRes(h.Fields[0].Value()); err != nil || len(again.Results) != len(r.Field.Results) {
			t.Errorf("got %+v, %v", again, err)
		}
		if receiver, ok := spfReceiver(h.Fields[1].Value()); !ok || receiver != "mx.example.com" {
			t.Errorf("%q: got %q", h.Fields[1].Raw, receiver)
		}
		for _, f := range h.Fields[:2] {
			if strings.ContainsFunc(string(f.Raw), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7F }) {
				t.Errorf("got %q", f.Raw)
			}
		}
	}
}

func TestReceivedSPF(t *testing.T) {
	text := `Received-SPF: pass (mx.example.com: all (is) well) receiver=mx.example.com; client-ip=192.0.2.1
RECEIVED-SPF: fail receiver="MX.example.com."
Received-SPF: none (odd mx.example.com
Received-SPF: pass (other.example: fine) client-ip=192.0.2.1; receiver=other.example
Received-SPF: pass (mx.example.com: mentions us) envelope-from=a@b; receiver=other.example;
From: alice@example.org

body
`
	m, r, err := Verify(context.Background(), message.Bytes([]byte(text)), Options{
		IDs: []string{"mx.example.com"}, Resolver: mailtest.Zone(t, zone), ReceivedSPF: true,
		Session: Session{IP: netip.MustParseAddr("::ffff:192.0.2.1"), Helo: "mail.example.org", Sender: "alice@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	want := `Received-SPF: pass
	(mx.example.com: ip4:192.0.2.1 matched in the record of example.org)
	receiver=mx.example.com; client-ip=192.0.2.1;
	envelope-from="alice@example.org"; helo=mail.example.org;
	identity=mailfrom; mechanism="ip4:192.0.2.1"
Received-SPF: pass (other.example: fine) client-ip=192.0.2.1; receiver=other.example
Received-SPF: pass (mx.example.com: mentions us) envelope-from=a@b; receiver=other.example;
From: alice@example.org

body
`
	if got := strings.TrimPrefix(read(t, m), string(r.Field.Format())); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(r.Removed) != 3 {
		t.Errorf("%d fields were removed", len(r.Removed))
	}
}

func TestEnforcement(t *testing.T) {
	reports := map[string]*dmarc.Report{
		"pass":       {Result: dmarc.Pass, From: "a.example", Policy: dmarc.Reject, Disposition: dmarc.NoPolicy},
		"reject":     {Result: dmarc.Fail, From: "a.example", Disposition: dmarc.Reject},
		"quarantine": {Result: dmarc.Fail, From: "a.example", Disposition: dmarc.Quarantine},
		"none":       {Result: dmarc.Fail, From: "a.example", Disposition: dmarc.NoPolicy},
		"unreadable": {Result: dmarc.PermError, Reason: "the message has 2 From\nfields", Disposition: dmarc.Reject},
		"trouble":    {Result: dmarc.TempError, From: "a.example", Reason: "server failure", Disposition: dmarc.NoPolicy},
		"unasked":    nil,
	}
	for _, c := range []struct {
		report           string
		how              Enforcement
		line, quarantine string
	}{
		{"pass", Enforcement{true, true}, "", ""},
		{"reject", Enforcement{true, false}, "550 5.7.1 Email rejected per DMARC policy for a.example", ""},
		{"reject", Enforcement{false, false}, "", ""},
		{"quarantine", Enforcement{true, false}, "", "DMARC policy for a.example"},
		{"quarantine", Enforcement{false, true}, "", ""},
		{"none", Enforcement{true, true}, "", ""},
		{"unreadable", Enforcement{true, false}, `550 5.7.1 Email rejected per DMARC policy: the message has 2 From\x0afields`, ""},
		{"trouble", Enforcement{true, false}, "", ""},
		{"trouble", Enforcement{true, true}, "451 4.7.0 DMARC policy for a.example cannot be found now: server failure", ""},
		{"trouble", Enforcement{false, true}, "", ""},
		{"unasked", Enforcement{true, true}, "", ""},
	} {
		e := &envelope.Envelope{}
		err := c.how.Apply(&Report{DMARC: reports[c.report], Field: AuthRes{ID: "mx"}}, e)
		line := ""
		if err != nil {
			line = status.Of(err).Line()
		}
		if line != c.line || e.Quarantine != c.quarantine || e.AuthRes != "mx; none" {
			t.Errorf("%s, %+v: got %q and %+v", c.report, c.how, line, e)
		}
	}
}

// FuzzSession: whatever the session and From are, our fields are two, say what was found, and have the message below them.
func FuzzSession(f *testing.F) {
	f.Add("a@evil.example", "h.example", "a@example.org", true)
	f.Add("\"x\\\"\r\n\"@evil.example", "[192.0.2.1]", "<a@b>, c@d", true)
	f.Add("", "\x00;(", "\xff@x", false)
	dns := mailtest.Zone(f, zone)
	f.Fuzz(func(t *testing.T, sender, helo, from string, known bool) {
		s := Session{Helo: helo, Sender: sender}
		if known {
			s.IP = netip.MustParseAddr("192.0.2.1")
		}
		text := "From: " + strings.NewReplacer("\r", "", "\n", "").Replace(from) + "\n\nbody\n"
		m, r, err := Verify(context.Background(), message.Bytes([]byte(text)), Options{
			IDs: []string{"mx.example.com"}, Resolver: dns, Session: s, ReceivedSPF: true, Mode: dmarc.Both})
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, m)
		if !strings.HasSuffix(got, "\n"+text) {
			t.Fatalf("the message became %q", got)
		}
		h, err := message.Bytes([]byte(got)).Header()
		ours := 1
		if known {
			ours = 2
		}
		if err != nil || len(h.Fields) != ours+1 {
			t.Fatalf("got %q, %v", got, err)
		}
		again, err := ParseAuthRes(h.Fields[0].Value())
		if err != nil || len(again.Results) != len(r.Field.Results) {
			t.Fatalf("got %+v, %v", again, err)
		}
		last := again.Results[len(again.Results)-1]
		if last.Method != "dmarc" || last.Value != string(r.DMARC.Result) {
			t.Errorf("got %+v", last)
		}
		if err := (Enforcement{true, true}).Apply(r, &envelope.Envelope{}); err != nil && strings.ContainsAny(status.Of(err).Line(), "\r\n\x00") {
			t.Errorf("got %q", err)
		}
	})
}
