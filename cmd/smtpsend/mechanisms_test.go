package main

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// secretWord is what alice knows, with what a form of netrc or a colon could trip over.
const secretWord = "hun:ter 2"

// mechanismOffice has alice, whose secret is there as it is, and a file with it.
func mechanismOffice(t *testing.T) (secret, office string) {
	t.Helper()
	dir := t.TempDir()
	office = filepath.Join(dir, "office")
	if err := os.MkdirAll(filepath.Join(office, "example.org", "alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	secret = filepath.Join(dir, "secret")
	for name, text := range map[string]string{filepath.Join(office, "example.org", "passwd"): "alice:{PLAIN}" + secretWord + "\n", secret: secretWord + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return secret, office
}

// logsIn sends to a server that relays only for who has logged in, by a mechanism with the right secret and with a wrong one.
func logsIn(t *testing.T, mechanism, secret, text string, args ...string) {
	t.Helper()
	args = append(args, "--auth", mechanism, "--user", "alice@example.org", "--timeout", "20s", "-f", "alice@example.org", "bob@elsewhere.example")
	said, exit := smtpsend(t, text, append([]string{"--password-file", secret}, args...)...)
	if exit != 0 || !strings.HasPrefix(said, "K\tbob@elsewhere.example\t") {
		t.Errorf("exit %d, said %q", exit, said)
	}
	said, exit = smtpsend(t, text, append([]string{"--password-command", "echo hun:ter"}, args...)...)
	if exit != 78 || !strings.HasPrefix(said, "Z\tbob@elsewhere.example\t") || !strings.Contains(said, "\t451 4.3.5 log in by "+mechanism+": 535 5.7.8 ") {
		t.Errorf("a wrong secret: exit %d, said %q", exit, said)
	}
}

// CRAM-MD5 is there where the server has the secret and says so, does not send it, and is what is used when no other is offered.
func TestCramMD5(t *testing.T) {
	secret, office := mechanismOffice(t)
	bin := mailtest.Build(t, "smtpsend", "smtpd")
	who := filepath.Join(t.TempDir(), "who")
	pipe := filepath.Join(bin, "smtpd") + " --office '" + office + "' --allow-plaintext --cram-md5 -- sh -c 'echo \"$AUTHUSER\" >" + who + "'"
	logsIn(t, "CRAM-MD5", secret, "Subject: x\n\n", "--pipe", pipe)
	if got, _ := os.ReadFile(who); string(got) != "alice@example.org\n" {
		t.Errorf("logged in as %q", got)
	}
	// To another host it goes in clear, as PLAIN does not; by default it comes last.
	said, exit := smtpsend(t, "Subject: x\n\n", "--dump", "--user", "alice", "--server", "smtp://192.0.2.1", "a@example.org")
	if exit != 0 || !strings.Contains(said, "\nlogin\talice by SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN, CRAM-MD5\n") {
		t.Errorf("exit %d: %s", exit, said)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("<- 220 x\n~> ^EHLO\n<- 250-x\n<- 250 AUTH CRAM-MD5\n-> AUTH CRAM-MD5\n<- 334 PDE4OTZAeD4=\n~> ^[A-Za-z0-9+/=]+$\n<- 235 yes\n"+
		"~> ^MAIL\n<- 550 5.7.1 no\n-> QUIT\n<- 221\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "smtpsend"), "-v", "--pipe", filepath.Join(bin, "smtpd")+" --script "+script, "--user", "alice", "--password-file", secret, "a@example.org")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "D\ta@example.org\tpipe\t550 5.7.1 no\n") || strings.Contains(string(out), "hun") || !strings.Contains(string(out), "-> [redacted]\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// Dovecot's submission server lets in whoever knows the secret, by each of its mechanisms, and passes letters on to ours.
func TestDovecotSubmission(t *testing.T) {
	program := mailtest.Peer(t, "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/submission"); err != nil {
		t.Skipf("peer dovecot-submissiond is not installed: %v", err)
	}
	if version, _ := exec.Command(program, "--version").Output(); !strings.HasPrefix(string(version), "2.3.") {
		t.Skipf("Dovecot %s is configured in another way", version)
	}
	if os.Getuid() != 0 {
		t.Skip("Dovecot must be started by root")
	}
	office, relay, _ := receiver(t, []string{"elsewhere.example"}, "localhost")
	if err := os.Rename(filepath.Join(office, "elsewhere.example", "alice"), filepath.Join(office, "elsewhere.example", "bob")); err != nil {
		t.Fatal(err)
	}
	home, port := mailtest.Passable(t), mailtest.FreePort(t)
	pair(t, filepath.Join(home, "server.pem"), x509.Certificate{DNSNames: []string{"localhost"}})
	config := fmt.Sprintf("base_dir = %[1]s/run\nlog_path = /dev/stderr\nssl = yes\nssl_cert = <%[1]s/server.pem\nssl_key = <%[1]s/server.pem\n"+
		"protocols = submission\nauth_failure_delay = 0\nauth_mechanisms = plain login cram-md5 scram-sha-256\nfirst_valid_uid = 1\n"+
		"hostname = localhost\nsubmission_relay_host = 127.0.0.1\nsubmission_relay_port = %[3]s\nmail_location = maildir:~/Maildir\n"+
		"passdb {\n driver = passwd-file\n args = scheme=PLAIN %[1]s/users\n}\nuserdb {\n driver = static\n args = uid=65534 gid=65534 home=%[1]s/alice\n}\n"+
		"service anvil {\n unix_listener anvil-auth-penalty {\n  mode = 0\n }\n}\n"+
		"service submission-login {\n inet_listener submission {\n  address = 127.0.0.1\n  port = %[2]s\n }\n}\n", home, port, relay)
	for name, text := range map[string]string{"users": "alice@example.org:{PLAIN.b64}" + base64.StdEncoding.EncodeToString([]byte(secretWord)) + "\n", "dovecot.conf": config} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(home, "secret")
	if err := os.WriteFile(secret, []byte(secretWord), 0o600); err != nil {
		t.Fatal(err)
	}
	mailtest.Follow(t, exec.Command(program, "-F", "-c", filepath.Join(home, "dovecot.conf")))
	mailtest.Listens(t, port)
	for i, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"} {
		t.Run(mechanism, func(t *testing.T) {
			logsIn(t, mechanism, secret, sentText, "-4", "--server", "smtp+tls://localhost:"+port, "--cacert", filepath.Join(home, "server.pem"))
			files, _ := filepath.Glob(filepath.Join(office, "elsewhere.example/bob/Maildir/new/*"))
			if len(files) != i+1 || !strings.HasSuffix(string(mustRead(t, files[i])), sentText) {
				t.Errorf("%d messages passed on, want %d", len(files), i+1)
			}
		})
	}
}
