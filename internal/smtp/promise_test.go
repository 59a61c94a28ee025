package smtp

import (
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

func TestPromiseValues(t *testing.T) {
	latest := fixedTime.Add(24 * time.Hour)
	tests := []struct {
		name  string
		valid func(string) bool
		good  []string
		bad   []string
	}{
		{"MT-PRIORITY", validPriority,
			[]string{"0", "9", "-9", "3"},
			[]string{"", "-0", "+1", "10", "-10", "x", "-", "--1", "1 "}},
		{"BY", validBy,
			[]string{"1;R", "120;N", "+120;RT", "-1;N", "0;N", "999999999;NT"},
			[]string{"", ";R", "1", "1;", "1;T", "0;R", "-5;R", "-;N", "+-1;N", "1;RR", "1;RTT", "1234567890;N", "1.5;N", "1;N;N"}},
		{"HOLDFOR", func(v string) bool { return validHoldFor(v, time.Hour) },
			[]string{"1", "3600", "59"},
			[]string{"", "0", "01", "3601", "-1", "+1", "1s", "9999999999"}},
		{"HOLDUNTIL", func(v string) bool { _, ok := parseHoldUntil(v, latest); return ok },
			[]string{"2026-11-25T05:40:00Z", "2026-11-25T07:40:00+02:00", "2026-11-24t05:40:00.25z", "1999-01-01T00:00:00Z"},
			[]string{"", "2026-11-25T05:40:01Z", "2026-11-25T05:40:00", "2026-11-25", "tomorrow", "2026-02-30T00:00:00Z"}},
		{"AUTH", validAuthParameter,
			[]string{"<>", "a@b.example", "a+2Bb@b.example", "+22a+20b+22@b.example"},
			[]string{"", "a", "a@", "a+2b@b.example", "a@b.example+0D+0A", "+3C+3E", "a@b.example+20x", strings.Repeat("a", 500) + "@b.example"}},
	}
	for _, tt := range tests {
		for _, v := range tt.good {
			if !tt.valid(v) {
				t.Errorf("%s %q: refused", tt.name, v)
			}
		}
		for _, v := range tt.bad {
			if tt.valid(v) {
				t.Errorf("%s %q: taken", tt.name, v)
			}
		}
	}
	if got, _ := parseHoldUntil("2026-11-25T07:40:00.5+02:00", latest.Add(time.Second)); got != "2026-11-25T05:40:00Z" {
		t.Errorf("got %q, want it in UTC", got)
	}
}

// What the client asked for stands in the envelope; what is not offered is not understood.
func TestPromises(t *testing.T) {
	e, o := newTestEngine()
	e.Promises = Promises{Priority: true, DeliverBy: true, FutureRelease: 24 * time.Hour}
	e.MaxRecipients = 50
	mailtest.Dialog(t, start(t, e, peer), `
		<- 220 ...
		-> EHLO client.example
		<- 250-smtp.joursoir.net
		<- 250-PIPELINING
		<- 250-SIZE 10240000
		<- 250-VRFY
		<- 250-ENHANCEDSTATUSCODES
		<- 250-8BITMIME
		<- 250-DSN
		<- 250-SMTPUTF8
		<- 250-MT-PRIORITY
		<- 250-DELIVERBY
		<- 250-FUTURERELEASE 86400 2026-11-25T05:40:00Z
		<- 250-LIMITS RCPTMAX=50
		<- 250 CHUNKING
		-> MAIL FROM:<a@b.example> REQUIRETLS
		<- 555 5.5.4 Error: unsupported parameter REQUIRETLS
		-> MAIL FROM:<a@b.example> HOLDFOR=60 HOLDUNTIL=2026-11-24T08:00:00Z
		<- 501 5.5.4 Error: bad value of parameter HOLDUNTIL
		-> MAIL FROM:<a@b.example> HOLDUNTIL=2026-11-24T08:00:00Z HOLDFOR=60
		<- 501 5.5.4 Error: bad value of parameter HOLDFOR
		-> MAIL FROM:<a@b.example> HOLDFOR=86401
		<- 501 5.5.4 ...
		-> MAIL FROM:<a@b.example> MT-PRIORITY=10
		<- 501 5.5.4 ...
		-> MAIL FROM:<a@b.example> BY=0;R
		<- 501 5.5.4 ...
		-> MAIL FROM:<a@b.example> HOLDFOR=60
		<- 250 ...
		-> RSET
		<- 250 ...
		-> MAIL FROM:<a@b.example> mt-priority=-3 by=120;rt holduntil=2026-11-24T08:00:00+01:00
		<- 250 ...
		-> RCPT TO:<chat@joursoir.net>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> .
		<- 250 ...`)
	env := o.one(t).env
	if env.Priority != "-3" || env.By != "120;RT" || env.HoldUntil != "2026-11-24T07:00:00Z" || env.HoldFor != "" || env.RequireTLS {
		t.Errorf("got %+v", env)
	}
}

// REQUIRETLS is taken where TLS is on, whoever ended it (RFC 8689 section 2).
func TestRequireTLS(t *testing.T) {
	e, o := newTestEngine()
	info := peer
	info.TLS = "TLSv1.3 TLS_AES_128_GCM_SHA256"
	r := newReader(t, start(t, e, info))
	r.say("220", "")
	if got := r.say("250", "EHLO client.example\r\n"); !strings.Contains(got, "250-REQUIRETLS\r\n") {
		t.Errorf("got %q", got)
	}
	r.say("501 5.5.4", "MAIL FROM:<a@b.example> REQUIRETLS=1\r\n")
	r.say("555 5.5.4", "MAIL FROM:<a@b.example> MT-PRIORITY=1\r\n")
	r.say("250", "MAIL FROM:<a@b.example> REQUIRETLS\r\n")
	r.say("250", "RCPT TO:<chat@joursoir.net>\r\n")
	r.say("354", "DATA\r\n")
	r.say("250", ".\r\n")
	if !o.one(t).env.RequireTLS {
		t.Error("REQUIRETLS is not in the envelope")
	}
}
