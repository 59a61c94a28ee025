package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// relays are other mail servers that take what smtpsend sends and pass it on to smtpd: FROM and TO are the two ports.
var relays = []struct{ name, program, config, args, sent string }{
	{"Exim", "usr/sbin/exim4", `primary_hostname = relay.example.net
daemon_smtp_ports = FROM
local_interfaces = 127.0.0.1
exim_path = PROGRAM
log_file_path = DIR/%slog
acl_smtp_rcpt = accept
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
keep_environment =
begin routers
on:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = on
begin transports
on:
  driver = smtp
  port = TO
  allow_localhost
  message_linelength_limit = 2000
`, "-C FILE -bdf -q1s", `[=-]> (alice|bob)@example\.org`},
	{"OpenSMTPD", "usr/sbin/smtpd", `smtp max-message-size 35M
listen on 127.0.0.1 port FROM hostname relay.example.net
action "on" relay host smtp://127.0.0.1:TO helo relay.example.net
match from any for any action "on"
`, "-d -f FILE", "mta delivery .*result=\"Ok"},
}

// Letters go unchanged from smtpsend through Exim and OpenSMTPD to smtpd.
func TestOthersRelay(t *testing.T) {
	for _, r := range relays {
		t.Run(r.name, func(t *testing.T) {
			program := mailtest.Unpacked(t, r.program)
			bin, office := newOffice(t)
			dir, port := mailtest.Passable(t), mailtest.FreePort(t)
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			fill := strings.NewReplacer("FROM", port, "TO", listening(t, bin, office), "PROGRAM", program, "DIR", dir, "FILE", filepath.Join(dir, "config"))
			if err := os.Chmod(write(t, filepath.Join(dir, "config"), fill.Replace(r.config)), 0o644); err != nil {
				t.Fatal(err)
			}
			log := mailtest.Follow(t, mailtest.Apart(t, r.program, strings.Fields(fill.Replace(r.args))...))
			mailtest.Listens(t, port)
			if r.name == "Exim" {
				log = mailtest.Follow(t, exec.Command("tail", "-n", "+1", "-F", filepath.Join(dir, "mainlog")))
			}
			const head = "Date: Tue, 24 Nov 2026 12:00:00 +0000\nMessage-ID: <1@example.com>\n" // or OpenSMTPD adds them
			for _, kind := range slices.Sorted(maps.Keys(letters)) {
				sending(t, head+letters[kind], "-f", "a@example.com", "--server", "smtp+notls://127.0.0.1:"+port, "alice@example.org", "bob@example.org")
			}
			mailtest.Await(t, log, 2*len(letters), r.sent, `\*\* |PermFail|panic`)
			for _, user := range []string{"alice", "bob"} {
				got := mails(t, office, user)
				if len(got) != len(letters) {
					t.Errorf("%s has %d messages, want %d", user, len(got), len(letters))
				}
				for kind, text := range letters {
					if !slices.ContainsFunc(got, func(m string) bool { return strings.HasSuffix(m, "\n"+head+text) }) {
						t.Errorf("%s: no message %q as it was sent", user, kind)
					}
				}
			}
		})
	}
}

// swaks speaks through a pipe, and says by XCLIENT and PROXY for whom it speaks.
func TestSwaksTrusted(t *testing.T) {
	mailtest.Peer(t, "swaks")
	bin, office := newOffice(t)
	for name, args := range map[string][]string{
		"pipe":    {"--pipe", bin + " --office " + office},
		"XCLIENT": {"--server", "127.0.0.1", "--port", listening(t, bin, office, "--xclient-from", "127.0.0.0/8"), "--xclient-addr", "192.0.2.77"},
		"PROXY 1": {"--server", "127.0.0.1", "--port", listening(t, bin, office, "--proxy-from", "127.0.0.0/8"), "--proxy-version", "1",
			"--proxy-family", "TCP4", "--proxy-source", "192.0.2.77", "--proxy-source-port", "4000", "--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25"},
		"PROXY 2": {"--server", "127.0.0.1", "--port", listening(t, bin, office, "--proxy-from", "127.0.0.0/8"), "--proxy-version", "2",
			"--proxy-family", "AF_INET", "--proxy-source", "192.0.2.77", "--proxy-source-port", "4000", "--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(office, "example.org", "bob", "Maildir")); err != nil {
				t.Fatal(err)
			}
			out, err := runPeer(t, "", "swaks", append(args, "--from", "a@example.com", "--to", "bob@example.org", "--header", "Subject: "+name)...)
			if err != nil {
				t.Fatalf("swaks: %v\n%s", err, out)
			}
			if m := only(t, office, "bob"); name != "pipe" && !strings.Contains(m, "([192.0.2.77])") || !strings.Contains(m, "\nSubject: "+name+"\n") {
				t.Errorf("got\n%s", m)
			}
		})
	}
}
