package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// scanner is a script of others in a directory below MAIL_SCANNERS, which holds what repositories of these names have:
//
//	smtpsmug/smtpsmug                                  (of hannob)
//	SMTP-Smuggling-Tools/smtp_smuggling_scanner.py     (of The-Login; needs colorama and dnspython)
//	command-injection-tester/command-injection-tester  (of Email-Analysis-Toolkit)
//
// Without it the test is skipped.
func scanner(t *testing.T, file string) string {
	t.Helper()
	dir := os.Getenv("MAIL_SCANNERS")
	if dir == "" {
		t.Skip("MAIL_SCANNERS names no directory with public scanners")
	}
	path := filepath.Join(dir, file)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("not there: %v", err)
	}
	return path
}

// scan runs a scanner and returns what it says.
func scan(t *testing.T, root, script string, args ...string) string {
	t.Helper()
	cmd := exec.Command(mailtest.Peer(t, "/usr/bin/python3"), append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", script, args, err, out)
	}
	return string(out)
}

// The scanner of hannob finds no false end of a message that is taken, and no commands that are carried out too early.
func TestScannerSmtpsmug(t *testing.T) {
	script := scanner(t, "smtpsmug/smtpsmug")
	bin, office := newOffice(t)
	cert, key, root := pemFiles(t, "localhost")
	for name, args := range map[string][]string{"clear": nil, "TLS": {"--tls-wrap"}} {
		port := listening(t, bin, office, append(args, "--max-per-address", "0", "--cert", cert, "--key", key)...)
		var more []string
		if name == "TLS" {
			more = []string{"--tls"}
		}
		for _, test := range strings.Fields("lflf crcr crlf lfcr lfcrlf crlflf crcrlf crlfcr nullbefore nullafter pipelining") {
			t.Run(name+" "+test, func(t *testing.T) {
				t.Parallel() // most of the time it waits for five seconds whether its end is one
				out := scan(t, root, script, append(more, "--port", port, "-f", "a@example.com", "-t", "bob@example.org", "-c", test, "localhost")...)
				want := "RECV:\033[0;36m 554 5.6.0 "
				switch {
				case test == "pipelining" && name == "TLS":
					want = "RECV:\033[0;36m 250 2.0.0 " // the only record of replies that it looks at; the refusal is in a later one
				case test == "pipelining":
					want = "Server rejects bad protocol synchronization"
				}
				if !strings.Contains(out, want) || strings.Contains(out, "bad!") {
					t.Errorf("want %q, got\n%s", want, out)
				}
			})
		}
	}
	t.Cleanup(func() {
		for _, m := range mails(t, office, "bob") {
			if !strings.Contains(m, "This is mail 1/2") {
				t.Errorf("came through: %q", m)
			}
		}
	})
}

// The scanner of The-Login smuggles nothing in: not in clear, not in TLS, and not as a peer whose bare LF are taken for line ends.
func TestScannerInbound(t *testing.T) {
	script := scanner(t, "SMTP-Smuggling-Tools/smtp_smuggling_scanner.py")
	for name, c := range map[string]struct {
		server, client []string
		refused        int // of seven
	}{
		"clear":      {nil, nil, 7},
		"STARTTLS":   {nil, []string{"--starttls"}, 7},
		"TLS":        {[]string{"--tls-wrap"}, []string{"--tls"}, 7},
		"normalized": {[]string{"--normalize", "127.0.0.0/8"}, nil, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin, office := newOffice(t)
			port := listening(t, bin, office, c.server...)
			args := append([]string{"bob@example.org", "--inbound-smtp-server", "127.0.0.1", "--port", port, "--debug"}, c.client...)
			if out := scan(t, "", script, append(args, "--setup-check")...); !strings.Contains(out, "Sent setup e-mail!") {
				t.Fatalf("the scanner does not work here:\n%s", out)
			}
			if out := scan(t, "", script, args...); strings.Count(out, "reply: b'554 5.6.0 ") != c.refused {
				t.Errorf("want %d refusals, got\n%s", c.refused, out)
			}
			got := mails(t, office, "bob")
			if len(got) != 1+7-c.refused {
				t.Errorf("%d messages came", len(got))
			}
			for _, m := range got {
				if !strings.HasPrefix(m, "Return-Path: <setup_check@") && !strings.HasPrefix(m, "Return-Path: <test@") {
					t.Errorf("smuggled: %q", m)
				}
			}
		})
	}
}

// The scanner of The-Login smuggles nothing out: what a submission server that takes bare LF for line ends sends on by smtpsend,
// through a Postfix that takes them too, is one message each at the next server.
func TestScannerOutbound(t *testing.T) {
	script := scanner(t, "SMTP-Smuggling-Tools/smtp_smuggling_scanner.py")
	bin, office := newOffice(t)
	peer := passOn(t, "smtp:[127.0.0.1]:"+listening(t, bin, office), "smtp_tls_security_level = none", "smtpd_forbid_bare_newline = no")
	smtpsend := filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend")
	port := listening(t, bin, office, "--submission", "--normalize", "127.0.0.0/8", "--", smtpsend, "--server", "smtp+notls://127.0.0.1:"+peer.Port)
	out := scan(t, "", script, "bob@example.org", "--outbound-smtp-server", "127.0.0.1", "--port", port, "--starttls", "--debug",
		"--sender-address", "alice@example.org", "--username", "alice@example.org", "--password", "hunter2")
	taken := strings.Count(out, "reply: b'250 2.0.0 Ok: queued as")
	if refused := strings.Count(out, "reply: b'554 5.6.0 "); taken+refused != 9 || taken == 0 {
		t.Fatalf("taken %d, refused %d, want 9 together:\n%s", taken, refused, out)
	}
	mailtest.Await(t, peer.Log, taken, "status=sent", "status=(bounced|deferred)|fatal|panic")
	got := mails(t, office, "bob")
	for _, m := range got {
		if !strings.Contains(m, "Subject: Trying EOD") || !strings.Contains(m, "SMUGGLINGSTART\n") || !strings.HasSuffix(m, "SMUGGLINGEND\n") {
			t.Errorf("not one whole message: %q", m)
		}
	}
	if len(got) != taken {
		t.Errorf("%d messages came, %d were taken", len(got), taken)
	}
}

// The tester of the Email-Analysis-Toolkit puts no command into the session before TLS is on.
func TestScannerInjection(t *testing.T) {
	script := scanner(t, "command-injection-tester/command-injection-tester")
	bin, office := newOffice(t)
	out := scan(t, "", script, "--smtp", "--smtp-port", listening(t, bin, office), "--nocolor", "-t", "0.5", "--logdir", t.TempDir(), "127.0.0.1")
	if !strings.Contains(out, "Sanity test done") || !strings.Contains(out, "TLS handshake failed - Server probably closed the connection!") ||
		!strings.Contains(out, "S: 554 5.5.0 Error: nothing may follow STARTTLS") || strings.Contains(out, "njection here!\n") {
		t.Errorf("got\n%s", out)
	}
}

// The scanner of The-Login, aimed at a Postfix that relays to us, smuggles nothing through it: what Postfix takes for one message is
// one here, or is refused for bare CR and LF. The setting says whether Postfix itself takes a bare LF for a line end.
func TestScannerThroughPostfix(t *testing.T) {
	script := scanner(t, "SMTP-Smuggling-Tools/smtp_smuggling_scanner.py")
	for _, forbid := range []string{"no", "normalize"} {
		for direction, args := range map[string][]string{
			"outbound": {"--sender-address", "alice@example.org", "--outbound-smtp-server"},
			"inbound":  {"--sender-domain", "example.com", "--inbound-smtp-server"},
		} {
			t.Run(direction+" "+forbid, func(t *testing.T) {
				t.Parallel()
				bin, office := newOffice(t)
				peer := passOn(t, "smtp:[127.0.0.1]:"+listening(t, bin, office), "smtp_tls_security_level = none", "smtpd_forbid_bare_newline = "+forbid,
					"smtpd_forbid_bare_newline_exclusions =")
				out := scan(t, "", script, append(append([]string{"bob@example.org", "--port", peer.Port, "--debug"}, args...), "127.0.0.1")...)
				taken := strings.Count(out, "reply: b'250 2.0.0 Ok: queued as")
				if taken < 7 {
					t.Fatalf("Postfix took %d messages:\n%s", taken, out)
				}
				mailtest.Await(t, peer.Log, taken, "to=<bob@example.org>.*status=(sent|bounced)", "status=deferred|fatal|panic")
				got, smuggled := mails(t, office, "bob"), 0
				for _, m := range got {
					if strings.HasPrefix(m, "Return-Path: <smuggled@") {
						smuggled++
					}
				}
				if len(got) != taken-1 { // one has a NUL in it
					t.Errorf("Postfix sent %d messages, of which one has a NUL, and %d came:\n%q", taken, len(got), got)
				}
				if wide := direction == "inbound" && forbid == "no"; smuggled > 0 && !wide { // there Postfix itself takes them for messages
					t.Errorf("%d smuggled", smuggled)
				}
			})
		}
	}
}
