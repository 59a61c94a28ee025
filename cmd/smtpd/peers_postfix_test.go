package main

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// sending runs our smtpsend with a letter.
func sending(t *testing.T, letter string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend"), args...)
	cmd.Stdin = strings.NewReader(letter)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("smtpsend %q: %v\n%s", args, err, out)
	}
}

// letters must come as they are through any chain that keeps to the standard.
var letters = map[string]string{
	"dots":      "Subject: dots\nFrom: a@example.com\n\n.\n..\n.x\nx\n.\n\n",
	"8 bit":     "Subject: 8bit\nFrom: a@example.com\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nb\xf6dy \xff\n",
	"long line": "Subject: long\nFrom: a@example.com\n\n" + strings.Repeat("x", 998) + "\n." + strings.Repeat("y", 997) + "\n",
	"blanks":    "Subject: blanks\nFrom: a@example.com\n\n\n\n \n\t\nend\n\n\n",
	"250 kB":    "Subject: big\nFrom: a@example.com\n\n" + strings.Repeat("a line of some length with a \xfe in it\n.\n", 250<<10/40),
}

// passOn runs a Postfix that passes everything on by transport.
func passOn(t *testing.T, transport string, settings ...string) *mailtest.Mail {
	t.Helper()
	return mailtest.Postfix(t, append([]string{"default_transport = " + transport, "relay_transport = " + transport}, settings...))
}

// A real Postfix between smtpsend and smtpd, by SMTP and by LMTP, in clear and with TLS.
func TestPostfixRelays(t *testing.T) {
	for name, c := range map[string]struct {
		transport, with string
		settings, args  []string
	}{
		"clear":         {"smtp", "with ESMTP ", []string{"smtp_tls_security_level = none"}, nil},
		"opportunistic": {"smtp", "with ESMTPS ", []string{"smtp_tls_security_level = may"}, nil},
		"required":      {"smtp", "with ESMTPS ", []string{"smtp_tls_security_level = encrypt"}, nil},
		"wrapped":       {"smtp", "with ESMTPS ", []string{"smtp_tls_security_level = encrypt", "smtp_tls_wrappermode = yes"}, []string{"--tls-wrap"}},
		"lmtp":          {"lmtp", "with LMTP ", []string{"lmtp_tls_security_level = none"}, []string{"--lmtp"}},
		"lmtp, TLS":     {"lmtp", "with LMTPS ", []string{"lmtp_tls_security_level = encrypt"}, []string{"--lmtp"}},
	} {
		t.Run(name, func(t *testing.T) {
			mailtest.Peer(t, "postfix")
			bin, office := newOffice(t)
			to := "[127.0.0.1]:" + listening(t, bin, office, c.args...)
			if c.transport == "lmtp" {
				to = "inet:" + to
			}
			peer := passOn(t, c.transport+":"+to, c.settings...)
			for i, kind := range slices.Sorted(maps.Keys(letters)) {
				sending(t, letters[kind], "-f", "a@example.com", "--server", "smtp://127.0.0.1:"+peer.Port, "--chunking", []string{"always", "never"}[i%2],
					"alice@example.org", "bob@example.org")
			}
			mailtest.Await(t, peer.Log, 2*len(letters), "status=sent", "status=(bounced|deferred)|fatal|panic")
			for _, user := range []string{"alice", "bob"} {
				got := mails(t, office, user)
				if len(got) != len(letters) {
					t.Errorf("%s has %d messages, want %d", user, len(got), len(letters))
				}
				for kind, text := range letters {
					if n := slices.IndexFunc(got, func(m string) bool { return strings.HasSuffix(m, "\n"+text) && strings.Contains(m, c.with) }); n < 0 {
						t.Errorf("%s: no message %q %s and as it was sent", user, kind, c.with)
					}
				}
			}
		})
	}
}
