package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// Mutt submits with a password, over TLS that it has begun or that was there from the start, and only to a host whose certificate
// is of the authority it knows.
func TestMutt(t *testing.T) {
	mailtest.Peer(t, "mutt")
	bin, office := newOffice(t)
	cert, key, root := pemFiles(t, "localhost")
	_, _, stranger := pemFiles(t, "localhost")
	port := listening(t, bin, office, "--submission", "--cert", cert, "--key", key)
	wrapped := listening(t, bin, office, "--submission", "--tls-wrap", "--cert", cert, "--key", key)
	for name, c := range map[string]struct{ url, password, root, refusal string }{
		"STARTTLS":       {"smtp://alice%40example.org@localhost:" + port, "hunter2", root, ""},
		"TLS":            {"smtps://alice%40example.org@localhost:" + wrapped, "hunter2", root, ""},
		"wrong password": {"smtp://alice%40example.org@localhost:" + port, "hunter3", root, "uthentication failed"},
		"wrong root":     {"smtp://alice%40example.org@localhost:" + port, "hunter2", stranger, "Untrusted server certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(office, "example.org", "bob", "Maildir")); err != nil {
				t.Fatal(err)
			}
			rc := write(t, filepath.Join(t.TempDir(), "muttrc"), `
set from="alice@example.org" realname="Alice" copy=no hostname="client.example"
set smtp_url="`+c.url+`" smtp_pass="`+c.password+`"
set smtp_authenticators="plain" ssl_starttls=yes ssl_force_tls=yes ssl_ca_certificates_file="`+c.root+`"
`)
			out, err := runPeer(t, "line\n.\n..\n", "mutt", "-n", "-F", rc, "-s", "by mutt", "--", "bob@example.org")
			if c.refusal != "" {
				if err == nil || !strings.Contains(out, c.refusal) || len(mails(t, office, "bob")) != 0 {
					t.Errorf("mutt: %v, want %q\n%s", err, c.refusal, out)
				}
				return
			}
			if err != nil {
				t.Fatalf("mutt: %v\n%s", err, out)
			}
			m := only(t, office, "bob")
			if !strings.Contains(m, "with ESMTPSA id ") || !strings.Contains(m, "\nSubject: by mutt\n") || !strings.HasSuffix(m, "\nline\n.\n..\n") {
				t.Errorf("got\n%s", m)
			}
		})
	}
}
