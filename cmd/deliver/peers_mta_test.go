package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// mta is a mail server that calls deliver, by its file of examples/dropin, and how its log tells what became of mail.
type mta struct {
	name             string
	start            func(t *testing.T, bin, office string) *mailtest.Mail
	waits, gone, bad string
	unknown          string // "" = it asks about users itself
}

var mtas = []mta{
	{"Postfix, mailbox_command", startPostfixUsers, "status=deferred.*sticky bit", "status=sent", "status=bounced.*go away", ""},
	{"Postfix, pipe", startPostfixOffice, "status=deferred.*sticky bit", "status=sent", "status=bounced.*go away",
		"<nobody-here@example.org>.*status=bounced.*no such mailbox"},
	{"Exim", startExim, "alice@example.org .* defer .*returned 75", "=> alice ", `\*\* alice@example.org .*returned 77`,
		`\*\* nobody-here@example.org .*returned 67`},
	{"OpenSMTPD", startOpenSMTPD, "result=TempFail.*sticky bit", "result=Ok", "result=PermFail.*go away",
		"result=PermFail.*no such mailbox"},
}

func startPostfixUsers(t *testing.T, bin, office string) *mailtest.Mail {
	script := dropin(t, "postfix.sh", "/usr/local/bin/deliver", bin+"/deliver", `"$HOME"`, office+"/example.org/alice",
		`"$RECIPIENT"`, "alice@example.org") // nobody's home is not where the test's is
	return mailtest.Postfix(t, []string{"mydestination = example.org", "virtual_alias_maps = inline:{alice@example.org=nobody@example.org}",
		"forward_path ="}, func(etc string) { configure(t, script, "users", etc) })
}

func startPostfixOffice(t *testing.T, bin, office string) *mailtest.Mail {
	script := dropin(t, "postfix.sh", "/usr/local/bin/deliver", bin+"/deliver", "/srv/mail", office, "vmail", "nobody")
	return mailtest.Postfix(t, nil, func(etc string) { configure(t, script, "office", etc) })
}

// configure runs the example for a Postfix of the test.
func configure(t *testing.T, script, how, etc string) {
	t.Helper()
	if out, err := exec.Command("/bin/sh", script, how, "-c", etc).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", script, how, err, out)
	}
}

func startExim(t *testing.T, bin, office string) *mailtest.Mail {
	port, logs := mailtest.FreePort(t), mailtest.Passable(t)
	if err := os.Chmod(logs, 0o777); err != nil {
		t.Fatal(err)
	}
	config := dropin(t, "exim.conf", "/usr/local/bin/deliver", bin+"/deliver", "/srv/mail", office, "user = vmail\n", "user = nobody\n",
		"daemon_smtp_ports = 25\n", "daemon_smtp_ports = "+port+"\nlocal_interfaces = 127.0.0.1\nprimary_hostname = mx.example.org\n"+
			"exim_path = "+mailtest.Unpacked(t, "usr/sbin/exim4")+"\nhost_lookup =\nrfc1413_hosts =\ntls_advertise_hosts =\nlog_file_path = "+logs+"/%slog\n"+
			"keep_environment =\n", "F,2h,15m", "F,2h,1s")
	if err := os.Chmod(config, 0o644); err != nil {
		t.Fatal(err)
	}
	mailtest.Follow(t, mailtest.Apart(t, "usr/sbin/exim4", "-C", config, "-bdf", "-q1s"))
	mailtest.Listens(t, port)
	return &mailtest.Mail{Port: port, Log: mailtest.Follow(t, exec.Command("tail", "-n", "+1", "-F", filepath.Join(logs, "mainlog")))}
}

func startOpenSMTPD(t *testing.T, bin, office string) *mailtest.Mail {
	port := mailtest.FreePort(t)
	config := dropin(t, "opensmtpd.conf", "/usr/local/bin/deliver", bin+"/deliver", "/srv/mail", office, "vmail", "nobody",
		"port 25", "port "+port)
	if err := os.Chmod(config, 0o644); err != nil {
		t.Fatal(err)
	}
	return &mailtest.Mail{Port: port, Log: mailtest.Follow(t, mailtest.Apart(t, "usr/sbin/smtpd", "-d", "-f", config))}
}

// bounce is a letter about one that could not be delivered (RFC 3464).
const bounce = head + "Auto-Submitted: auto-replied\nSubject: undelivered\nMIME-Version: 1.0\n" +
	"Content-Type: multipart/report; report-type=delivery-status; boundary=\"=_1\"\n\n" +
	"--=_1\n\nIt could not be delivered.\n\n--=_1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.com\n\n" +
	"Final-Recipient: rfc822; carol@example.com\nAction: failed\nStatus: 5.1.1\n\n--=_1\nContent-Type: message/rfc822\n\n" +
	"Return-Path: <alice@example.org>\nDelivered-To: alice@example.org\nSubject: hello\n\nFrom me\n.\n--=_1--\n"

// Mail servers hand deliver their mail: it arrives as it was sent, waits while deliver says so, and what deliver refuses goes
// back to its sender with deliver's words.
func TestServersDeliver(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mail servers must be started by root")
	}
	for _, m := range mtas {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // they wait for their next try
			bin := mailtest.Build(t, "deliver", "smtpsend")
			office, box := passableOffice(t)
			server := m.start(t, bin, office)
			mailtest.Listens(t, server.Port)
			as := func(from, to, letter string) {
				t.Helper()
				cmd := exec.Command(filepath.Join(bin, "smtpsend"), "-f", from, "--server", "smtp+notls://127.0.0.1:"+server.Port, to)
				cmd.Stdin = strings.NewReader(letter)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("smtpsend: %v: %s", err, out)
				}
			}
			send := func(letter string) {
				t.Helper()
				as("bob@example.com", "alice@example.org", letter)
			}
			for name, text := range letters {
				if name != "dots" {
					send(text)
				}
			}
			mailtest.Await(t, server.Log, len(letters)-1, m.gone, "panic|fatal|open post office|"+m.bad)
			if err := os.Chmod(box, 0o755|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
			send(letters["dots"])
			mailtest.Await(t, server.Log, 1, m.waits, "panic|fatal|open post office|"+m.bad)
			if n := len(messages(t, box)); n != len(letters)-1 {
				t.Errorf("%d messages while mail is on hold", n)
			}
			if err := os.Chmod(box, 0o755); err != nil {
				t.Fatal(err)
			}
			mailtest.Await(t, server.Log, 1, m.gone, "panic|fatal|open post office|"+m.bad)
			checkLetters(t, box)
			if err := os.WriteFile(filepath.Join(box, ".qmail"), []byte("|echo '550 5.7.1 go away' >&2; exit 77\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			send(letters["From"])
			mailtest.Await(t, server.Log, 1, m.bad, m.waits)
			if got := messages(t, box); len(got) != len(letters) || slices.ContainsFunc(got, func(b []byte) bool {
				return !strings.HasPrefix(string(b), "Return-Path: <bob@example.com>\n")
			}) {
				t.Errorf("in the end %d messages, and their senders", len(got))
			}
			if m.unknown != "" {
				as("bob@example.com", "nobody-here@example.org", letters["From"])
				mailtest.Await(t, server.Log, 1, m.unknown, "panic|fatal|open post office")
			}
			// A bounce comes with the null sender and as it is.
			for _, name := range []string{".qmail", "Maildir"} {
				if err := os.RemoveAll(filepath.Join(box, name)); err != nil {
					t.Fatal(err)
				}
			}
			as("<>", "alice@example.org", bounce)
			mailtest.Await(t, server.Log, 1, m.gone, "panic|fatal|open post office")
			got := messages(t, box)
			if len(got) != 1 || !strings.HasPrefix(string(got[0]), "Return-Path: <>\nDelivered-To: alice@example.org\n") ||
				!strings.HasSuffix(string(got[0]), "\n"+bounce) {
				t.Errorf("the bounce came as %q", got)
			}
		})
	}
}

// A mistake in the command that Postfix was told bounces nothing, although its pipe(8) says nothing of itself in SENDER.
func TestMisspeltOptionWaits(t *testing.T) {
	bin := mailtest.Build(t, "deliver", "smtpsend")
	script := dropin(t, "postfix.sh", "/usr/local/bin/deliver", bin+"/deliver", "--exit mta --office /srv/mail", "--ofice /srv/mail", "vmail", "nobody")
	server := mailtest.Postfix(t, nil, func(etc string) { configure(t, script, "office", etc) })
	mailtest.Listens(t, server.Port)
	cmd := exec.Command(filepath.Join(bin, "smtpsend"), "-f", "bob@example.com", "--server", "smtp+notls://127.0.0.1:"+server.Port, "alice@example.org")
	cmd.Stdin = strings.NewReader(letters["dots"])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("smtpsend: %v: %s", err, out)
	}
	mailtest.Await(t, server.Log, 1, "status=deferred.*unknown flag", "panic|fatal|status=bounced")
}
