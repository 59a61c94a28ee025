package smtp

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// What sessions do is counted; other sessions of the same counts add to it.
func TestCounts(t *testing.T) {
	e, _ := newTestEngine()
	e.Counts = new(Counts)
	r := newReader(t, start(t, e, peer))
	for _, s := range []struct{ want, say string }{
		{"220", ""}, {"250", "HELO client.example\r\n"},
		{"250", "MAIL FROM:<a@b.example>\r\n"}, {"550", "RCPT TO:<no@joursoir.net>\r\n"}, {"250", "RCPT TO:<chat@joursoir.net>\r\n"},
		{"354", "DATA\r\n"}, {"250", "x: y\r\n.\r\n"},
		{"250", "MAIL FROM:<a@b.example>\r\n"}, {"250", "RCPT TO:<chat@joursoir.net>\r\n"},
		{"354", "DATA\r\n"}, {"550", "Subject: refuse\r\n.\r\n"},
		{"250", "MAIL FROM:<a@b.example>\r\n"}, {"250", "RCPT TO:<chat@joursoir.net>\r\n"},
		{"354", "DATA\r\n"}, {"451", "Subject: later\r\n.\r\n"},
	} {
		r.say(s.want, s.say)
	}
	var b bytes.Buffer
	if err := e.Counts.WriteOpenMetrics(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"smtpd_sessions_total 1\n", "smtpd_sessions_open 1\n", "smtpd_handlers_open 0\n",
		"smtpd_replies_total{code=\"220\"} 1\n", "smtpd_replies_total{code=\"354\"} 3\n", "smtpd_replies_total{code=\"550\"} 2\n",
		"smtpd_messages_total{fate=\"accepted\"} 1\n", "smtpd_messages_total{fate=\"deferred\"} 1\n", "smtpd_messages_total{fate=\"refused\"} 1\n",
		"smtpd_message_bytes_total{fate=\"accepted\"} 5\n", "smtpd_message_bytes_total{fate=\"refused\"} 16\n",
		"smtpd_handler_seconds_count 3\n", "smtpd_session_seconds_count 0\n", "smtpd_session_seconds_bucket{le=\"+Inf\"} 0\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	mailtest.OpenMetrics(t, b.String()+"# EOF\n", 8)
}

func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 2 * time.Hour} {
		h.observe(d)
	}
	var b bytes.Buffer
	h.write(&b, "x")
	for _, want := range []string{`{le="0.001"} 2`, `{le="0.005"} 3`, `{le="3600.0"} 3`, `{le="+Inf"} 4`, "x_count 4\n", "x_sum 7200.003\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
