package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// A session with TLS and a login is recorded, and plays against the server anew, with the secret given anew.
func TestPlaySecure(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(file("office/example.org/alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	bin := mailtest.Build(t, "smtpsend", "smtpd")
	run := func(stdin string, args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(bin, args[0]), args[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("correct horse\n", "smtpd", "passwd", "--scram", "--office", file("office"), "alice@example.org"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pair(t, file("server.pem"), x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}})
	address := daemon(t, file("office"), "--cert", file("server.pem"), "--key", file("server.pem"))
	url := "smtp+tls://" + strings.Replace(address, "127.0.0.1", "localhost", 1)
	user := []string{"-4", "--cacert", file("server.pem"), "--user", "alice@example.org", "--password-command"}
	for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"} {
		t.Run(mechanism, func(t *testing.T) {
			rec := file(mechanism)
			args := append([]string{"smtpsend", "--record", rec, "--server", url, "--auth", mechanism}, user...)
			if out, err := run("Subject: x\n\nbody\n", append(args, "echo correct horse", "alice@example.org")...); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			text, _ := os.ReadFile(rec)
			if !strings.Contains(string(text), "\n== TLS 1.3 ") || !strings.Contains(string(text), "[redacted]") {
				t.Errorf("recorded\n%s", text)
			}
			play := append([]string{"smtpsend", "play"}, user...)
			if out, err := run("", append(play, "echo correct horse", rec, url)...); err != nil || out != "" {
				t.Errorf("%v: %s", err, out)
			}
			if out, err := run("", append(play, "echo wrong", rec, url)...); err == nil || !strings.Contains(out, "\n got ") {
				t.Errorf("a wrong password plays: %v: %s", err, out)
			}
			if out, err := run("", "smtpsend", "play", rec, url); err == nil || !strings.Contains(out, "TLS handshake") {
				t.Errorf("an unknown certificate plays: %v: %s", err, out)
			}
		})
	}
}
