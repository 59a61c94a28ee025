package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

const authZone = `
good.example.            TXT "v=spf1 ip4:192.0.2.1 ip4:127.0.0.1 -all"
_dmarc.good.example.     TXT "v=DMARC1; p=reject; sp=quarantine"
news.good.example.       A   192.0.2.7
;! servfail _dmarc.down.example.
`

// authSession starts smtpd for a client at ip that sends one message with this From field. The dialog ends with answer.
func authSession(t *testing.T, bin, office, ip, from, answer string, args ...string) {
	t.Helper()
	zone := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(zone, []byte(authZone), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PROTO", "TCP")
	t.Setenv("TCPREMOTEIP", ip)
	t.Setenv("AUTH_RESULTS", "older; dmarc=pass")
	args = append([]string{"--office", office, "--name", "mx.example.org", "--zone", zone}, args...)
	c := mailtest.Child(t, bin, args...)
	mailtest.Dialog(t, c, `
		<- 220 ...
		-> HELO mail.client.example
		<- 250 ...
		-> MAIL FROM:<bounces@good.example>
		<- 250 ...
		-> RCPT TO:<bob@example.org>
		<- 250 ...
		-> DATA
		<- 354 ...
		-> `+strings.ReplaceAll(from, "\n", "\n\t\t-> ")+`
		-> Authentication-Results: mx.example.org; dmarc=pass header.from=good.example
		-> Subject: hi
		->
		-> hi
		-> .
		<- `+answer+`
		-> QUIT
		<- 221 ...
		<- EOF`)
}

// What fails by a policy of reject is refused at the end of data; everything else goes on, and tells what was found.
func TestEnforceDMARC(t *testing.T) {
	const forged, aligned, other = "203.0.113.9", "192.0.2.1", "203.0.113.9"
	for _, c := range []struct{ name, ip, from, flags, answer, quarantine, results string }{
		{"aligned", aligned, "From: a@good.example", "--enforce dmarc", "250 ...", "", "dmarc=pass header.from=good.example"},
		{"forged", forged, "From: a@good.example", "--enforce dmarc",
			"550 5.7.1 Email rejected per DMARC policy for good.example", "", ""},
		{"forged, only checked", forged, "From: a@good.example", "--auth-check", "250 ...", "", "policy.dmarc=reject"},
		{"quarantine", other, "From: a@news.good.example", "--enforce dmarc", "250 ...",
			"DMARC policy for news.good.example", "policy.dmarc=quarantine"},
		{"quarantine, only checked", other, "From: a@news.good.example", "--auth-check", "250 ...", "", "policy.dmarc=quarantine"},
		{"no policy", other, "From: a@none.example", "--auth-check --enforce dmarc", "250 ...", "", "dmarc=none "},
		{"two From fields", aligned, "From: a@good.example\nFrom: b@other.example", "--enforce dmarc",
			"550 5.7.1 Email rejected per DMARC policy: the message has 2 From fields", "", ""},
		{"trouble", other, "From: a@down.example", "--enforce dmarc", "250 ...", "", "dmarc=temperror "},
		{"trouble is put off", other, "From: a@down.example", "--enforce dmarc --enforce-temperror",
			"451 4.7.0 DMARC policy for down.example cannot be found now: ...", "", ""},
		{"relay of ours", forged, "From: a@good.example", "--enforce dmarc --relay-from 203.0.113.0/24", "250 ...", "", "mx.example.org; dkim=none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin, office := newOffice(t)
			seen := filepath.Join(t.TempDir(), "seen")
			const keep = `printf '%s\n' "$SMTP_QUARANTINE" "$AUTH_RESULTS" >"$0"; cat >>"$0"`
			args := append(strings.Fields(c.flags), "--", "/bin/sh", "-c", keep, seen)
			authSession(t, bin, office, c.ip, c.from, c.answer, args...)
			got, err := os.ReadFile(seen)
			if c.results == "" {
				if err == nil {
					t.Errorf("handed on:\n%s", got)
				}
				return
			}
			quarantine, rest, _ := strings.Cut(string(got), "\n")
			results, m, _ := strings.Cut(rest, "\n")
			if quarantine != c.quarantine || !strings.HasPrefix(results, "mx.example.org; ") || !strings.Contains(results, c.results) {
				t.Errorf("got quarantine %q and results %q", quarantine, results)
			}
			field, below, _ := strings.Cut(m, "\nReceived: ")
			if field = strings.Join(strings.Fields(field), " "); field != "Authentication-Results: "+results {
				t.Errorf("got the field\n%s\nand the results\n%s", field, results)
			}
			if strings.Contains(below, "Authentication-Results") {
				t.Errorf("a forged field is left in\n%s", below)
			}
		})
	}
}

// Delivered by smtpd itself, the message has the results as well.
func TestEnforceInTheOffice(t *testing.T) {
	bin, office := newOffice(t)
	authSession(t, bin, office, "203.0.113.9", "From: a@good.example", "550 5.7.1 ...", "--enforce", "dmarc")
	authSession(t, bin, office, "192.0.2.1", "From: a@good.example", "250 ...", "--enforce", "dmarc")
	m := only(t, office, "bob")
	if !strings.Contains(m, "\n\tdmarc=pass header.from=good.example\nReceived: ") {
		t.Errorf("got\n%s", m)
	}
}

// The MX host of the examples refuses forged mail and takes what is aligned, over TCP.
func TestMXHost(t *testing.T) {
	_, office := newOffice(t)
	t.Setenv("PATH", mailtest.Build(t, "smtpd", "mailauth", "deliver")+":"+os.Getenv("PATH"))
	t.Setenv("MAIL_RESOLVER", mailtest.DNS(t, authZone+`_dmarc.bank.example. TXT "v=DMARC1; p=reject"`))
	port := started(t, exec.Command("../../examples/mx-host.sh", office, "127.0.0.1:0"))
	for from, answer := range map[string]string{
		"a@bank.example": "550 5.7.1 Email rejected per DMARC policy for bank.example",
		"a@good.example": "250 ...",
	} {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		mailtest.Dialog(t, c, `
			<- 220 ...
			-> HELO mail.good.example
			<- 250 ...
			-> MAIL FROM:<bounces@good.example>
			<- 250 ...
			-> RCPT TO:<bob@example.org>
			<- 250 ...
			-> DATA
			<- 354 ...
			-> From: `+from+`
			->
			-> hi
			-> .
			<- `+answer+`
			-> QUIT
			<- 221 ...
			<- EOF`)
	}
	if m := only(t, office, "bob"); !strings.Contains(m, "\n\tdmarc=pass header.from=good.example\n") {
		t.Errorf("got\n%s", m)
	}
}
