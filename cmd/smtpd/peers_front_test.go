package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// write makes a file for a peer.
func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// pemFiles makes files with a certificate and its key for a host, and of the authority that issued it.
func pemFiles(t *testing.T, host string) (cert, key, root string) {
	t.Helper()
	authority := issue(t, nil, "authority")
	pair := issue(t, &authority, host)
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, kind string, der []byte) string {
		return write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	return file("cert.pem", "CERTIFICATE", pair.Certificate[0]), file("key.pem", "PRIVATE KEY", private),
		file("root.pem", "CERTIFICATE", authority.Certificate[0])
}

// bothPEM makes a file with a certificate and its key, as HAProxy wants it.
func bothPEM(t *testing.T) string {
	t.Helper()
	var both strings.Builder
	cert, key, _ := pemFiles(t, "mx.example.org")
	for _, file := range []string{cert, key} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		both.Write(b)
	}
	return write(t, filepath.Join(t.TempDir(), "both.pem"), both.String())
}

// Behind HAProxy the client's address is what the PROXY header says, of either version, also where HAProxy ends the TLS.
func TestHAProxy(t *testing.T) {
	haproxy := mailtest.Peer(t, "haproxy")
	bin, office := newOffice(t)
	back := listening(t, bin, office, "--proxy-from", "127.0.0.0/8")
	for name, c := range map[string]struct {
		bind, send string
		client     []string
	}{
		"version 1":    {"", "send-proxy", []string{"--server", "smtp://127.0.0.1:"}},
		"version 2":    {"", "send-proxy-v2", []string{"--server", "smtp://127.0.0.1:"}},
		"TLS in front": {" ssl crt " + bothPEM(t), "send-proxy-v2-ssl", []string{"--no-verify", "--server", "smtps://127.0.0.1:"}},
	} {
		t.Run(name, func(t *testing.T) {
			port := mailtest.FreePort(t)
			config := write(t, filepath.Join(t.TempDir(), "haproxy.cfg"), fmt.Sprintf(`
defaults
	mode tcp
	timeout connect 10s
	timeout client 30s
	timeout server 30s
listen mail
	bind 127.0.0.1:%s%s
	server back 127.0.0.1:%s %s
`, port, c.bind, back, c.send))
			mailtest.Follow(t, exec.Command(haproxy, "-db", "-f", config))
			mailtest.Listens(t, port)
			letter := "Subject: " + name + "\n\nthrough\n.\n"
			client := slices.Clone(c.client)
			client[len(client)-1] += port
			sending(t, letter, append(client, "--bind", "127.0.0.9", "-f", "a@example.com", "bob@example.org")...)
			m := mails(t, office, "bob")
			if len(m) == 0 || !strings.Contains(strings.Join(m, ""), letter) || strings.Count(strings.Join(m, ""), "([127.0.0.9])") != len(m) {
				t.Errorf("got %q, want the letter from 127.0.0.9", m)
			}
		})
	}
}

// stunnel puts TLS on for a client that has none.
func TestStunnel(t *testing.T) {
	stunnel := mailtest.Peer(t, "stunnel")
	bin, office := newOffice(t)
	back, port := listening(t, bin, office, "--tls-wrap"), mailtest.FreePort(t)
	config := write(t, filepath.Join(t.TempDir(), "stunnel.conf"), fmt.Sprintf(`
foreground = yes
pid =
[client]
client = yes
accept = 127.0.0.1:%s
connect = 127.0.0.1:%s
`, port, back))
	mailtest.Follow(t, exec.Command(stunnel, config))
	mailtest.Listens(t, port)
	letter := "Subject: stunnel\n\n.\n..\n"
	sending(t, letter, "--server", "smtp://127.0.0.1:"+port, "-f", "a@example.com", "bob@example.org")
	if m := only(t, office, "bob"); !strings.HasSuffix(m, letter) || !strings.Contains(m, "with ESMTPS id") {
		t.Errorf("got %q", m)
	}
}

// curl sends by smtp:// and smtps://, with a login and without.
func TestCurl(t *testing.T) {
	mailtest.Peer(t, "curl")
	bin, office := newOffice(t)
	clear, wrapped := listening(t, bin, office), listening(t, bin, office, "--tls-wrap", "--submission")
	letter := "From: alice@example.org\r\nSubject: curl\r\n\r\nline\r\n.\r\n..\r\n"
	for name, c := range map[string]struct{ url, with, args string }{
		"clear":         {"smtp://127.0.0.1:" + clear, "with ESMTP id", ""},
		"required TLS":  {"smtp://127.0.0.1:" + clear, "with ESMTPS id", "-k --ssl-reqd"},
		"PLAIN":         {"smtp://127.0.0.1:" + clear, "with ESMTPSA id", "-k --ssl-reqd -u alice@example.org:hunter2 --login-options AUTH=PLAIN"},
		"LOGIN":         {"smtp://127.0.0.1:" + clear, "with ESMTPSA id", "-k --ssl-reqd -u alice@example.org:hunter2 --login-options AUTH=LOGIN"},
		"implicit":      {"smtps://127.0.0.1:" + wrapped, "with ESMTPSA id", "-k -u alice@example.org:hunter2 --sasl-ir"},
		"for another":   {"smtps://127.0.0.1:" + wrapped, "with ESMTPSA id", "-k -u alice@example.org:hunter2 --mail-auth alice@example.org"},
		"without login": {"smtps://127.0.0.1:" + wrapped, "", "-k"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(office, "example.org", "bob", "Maildir")); err != nil {
				t.Fatal(err)
			}
			args := append(strings.Fields(c.args), "-sS", "--max-time", "30", "--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.org", "-T", "-", c.url)
			out, err := runPeer(t, letter, "curl", args...)
			if c.with == "" {
				if err == nil || len(mails(t, office, "bob")) != 0 {
					t.Errorf("without a login: %v %s", err, out)
				}
				return
			}
			if err != nil {
				t.Fatalf("curl: %v\n%s", err, out)
			}
			if m := only(t, office, "bob"); !strings.Contains(m, c.with) || !strings.HasSuffix(m, strings.ReplaceAll(letter, "\r\n", "\n")) {
				t.Errorf("want %q and the letter, got\n%s", c.with, m)
			}
		})
	}
}
