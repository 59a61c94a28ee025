package smtp

import (
	"strings"
	"testing"

	"pennypost/internal/envelope"
)

func TestReceivedField(t *testing.T) {
	one := []envelope.Address{{Local: "chat", Domain: "joursoir.net"}}
	two := append(one, envelope.Address{Local: "b", Domain: "joursoir.net"})
	tests := []struct {
		name   string
		f      Facts
		env    envelope.Envelope
		secure bool
		want   string
	}{
		{"all parts", Facts{Extended: true},
			envelope.Envelope{Recipients: one, Conn: envelope.Connection{Helo: "h.example", RemoteHost: "r.example", RemoteIP: "192.0.2.7", TLS: "TLSv1.3 TLS_AES_128_GCM_SHA256", AuthUser: "a"}}, true,
			"from h.example (r.example [192.0.2.7])\n\tby n.example with ESMTPSA id ID\n\t(TLSv1.3 TLS_AES_128_GCM_SHA256)\n\tfor <chat@joursoir.net>"},
		{"two recipients", Facts{Extended: true},
			envelope.Envelope{Recipients: two, Conn: envelope.Connection{Helo: "h.example", RemoteIP: "2001:db8::1"}}, false,
			"from h.example ([IPv6:2001:db8::1])\n\tby n.example with ESMTP id ID"},
		{"HELO", Facts{}, envelope.Envelope{Conn: envelope.Connection{Helo: "[192.0.2.9]", RemoteIP: "::ffff:192.0.2.7"}}, false,
			"from [192.0.2.9] ([192.0.2.7])\n\tby n.example with SMTP id ID"},
		{"utf8, TLS", Facts{Extended: true}, envelope.Envelope{SMTPUTF8: true, Conn: envelope.Connection{Helo: "h"}}, true,
			"from h (local)\n\tby n.example with UTF8SMTPS id ID"},
		{"no name", Facts{}, envelope.Envelope{}, false, "from unknown (local)\n\tby n.example with SMTP id ID"},
		{"odd names", Facts{Extended: true},
			envelope.Envelope{Conn: envelope.Connection{Helo: "a(b)\n;\x00\u00fc", RemoteHost: "x y", RemoteIP: "192.0.2.7", TLS: "a)\r\nX: b"}}, true,
			"from a?b????? (x?y [192.0.2.7])\n\tby n.example with ESMTPS id ID\n\t(a???X: b)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.f.ID, tt.f.Envelope = "ID", &tt.env
			want := "Received: " + tt.want + "; Tue, 24 Nov 2026 05:40:00 +0000\n"
			if got := receivedField("n.example", &tt.f, tt.secure, fixedTime); got != want {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}

// FuzzReceived: nothing a client says makes the field more than one field.
func FuzzReceived(f *testing.F) {
	f.Add("h.example", "r.example", "TLSv1.3 X")
	f.Add("a\r\nSubject: x", "\n", "\x00)")
	f.Fuzz(func(t *testing.T, helo, host, tls string) {
		facts := Facts{ID: "ID", Envelope: &envelope.Envelope{Conn: envelope.Connection{Helo: helo, RemoteHost: host, RemoteIP: "192.0.2.7", TLS: tls}}}
		field := receivedField("n.example", &facts, true, fixedTime)
		lines := strings.Split(strings.TrimSuffix(field, "\n"), "\n")
		for i, l := range lines {
			if i > 0 && !strings.HasPrefix(l, "\t") || strings.ContainsAny(l, "\r\x00") {
				t.Errorf("line %q in %q", l, field)
			}
		}
	})
}
