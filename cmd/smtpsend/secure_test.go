package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// pair makes a certificate and its key in one file, signed by itself, and returns both.
func pair(t *testing.T, file string, template x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.IsCA, template.BasicConstraintsValid = true, true
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Logging in over TLS, and what is verified, against our own server.
func TestSecureServer(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(file("office/example.org/alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	bin := mailtest.Build(t, "smtpsend", "smtpd")
	passwd := exec.Command(filepath.Join(bin, "smtpd"), "passwd", "--scram", "--office", file("office"), "alice@example.org")
	passwd.Stdin = strings.NewReader("correct horse\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("smtpd passwd: %v: %s", err, out)
	}
	server := pair(t, file("server.pem"), x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}})
	pair(t, file("alice.pem"), x509.Certificate{Subject: pkix.Name{CommonName: "alice"}, EmailAddresses: []string{"alice@example.org"}})
	leaf, err := x509.ParseCertificate(server.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	pin := hex.EncodeToString(sum[:])
	address := daemon(t, file("office"), "--cert", file("server.pem"), "--key", file("server.pem"), "--client-ca", file("alice.pem"), "--", "sh", "-c", `echo "$AUTHUSER" >`+file("who"))
	user := []string{"--pin", pin, "--user", "alice@example.org", "--password-command", "echo correct horse"}
	const alice, bob = "alice@example.org", "bob@elsewhere.example" // bob is reached only by those who have logged in
	tests := []struct {
		name string
		to   string
		args []string
		want string
		log  string
	}{
		{"pinned", alice, []string{"--pin", pin}, "K\t", ""},
		{"pinned among others, in base64", alice, []string{"--pin", strings.Repeat("ab:", 31) + "ab," + base64.StdEncoding.EncodeToString(sum[:])}, "K\t", ""},
		{"another pin", alice, []string{"--pin", strings.Repeat("ab", 32)}, "the public key has the SHA-256 sum " + pin, ""},
		{"another name", alice, []string{"--cacert", file("server.pem"), "--sni", "mx.example"}, "certificate is valid for localhost, not mx.example", ""},
		{"TLS 1.2", alice, []string{"--cacert", file("server.pem"), "--tls-max", "1.2", "--save-cert", file("saved.pem")}, "K\t", "== TLS 1.2"},
		{"a cipher suite", alice, []string{"--cacert", file("server.pem"), "--tls-max", "1.2", "--tls-cipher", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
			"K\t", "== TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
		{"a cipher suite for other keys", alice, []string{"--cacert", file("server.pem"), "--tls-max", "1.2", "--tls-cipher", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
			"TLS handshake: remote error: tls: handshake failure", ""},
		{"logging in is not offered", alice, append(user, "--no-ehlo", "--auth-optional"), "TLS is required and not offered", "-> HELO "},
		{"mechanism not offered", alice, append(user, "--auth", "cram-md5", "--auth-optional"), "K\t", "-> MAIL "},
		{"TLS 1.3", alice, []string{"--cacert", file("server.pem"), "--tls-min", "1.3"}, "K\t", "== TLS 1.3"},
		{"SCRAM bound to the connection", bob, user, "K\t", "-> AUTH SCRAM-SHA-256-PLUS [redacted]"},
		{"SCRAM not bound by wish", bob, append(user, "--auth", "scram-sha-256"), "K\t", "-> AUTH SCRAM-SHA-256 [redacted]"},
		{"a certificate", bob, []string{"--pin", pin, "--cert", file("alice.pem"), "--auth", "external"}, "K\t", "-> AUTH EXTERNAL "},
		{"a certificate as somebody", bob, []string{"--pin", pin, "--cert", file("alice.pem"), "--key", file("alice.pem"), "--auth", "external", "--user", "alice@example.org"}, "K\t", "-> AUTH EXTERNAL "},
		{"a certificate as somebody else", bob, []string{"--pin", pin, "--cert", file("alice.pem"), "--auth", "external", "--user", "bob@example.org"}, "log in by EXTERNAL: 535 ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(bin, "smtpsend"), append(tt.args, "-v", "--server", "smtp+tls://"+address, "--timeout", "20s", "-f", "alice@example.org", tt.to)...)
			cmd.Stdin = strings.NewReader("Subject: x\n\n")
			var log strings.Builder
			cmd.Stderr = &log
			said, _ := cmd.Output()
			if !strings.Contains(string(said), tt.want) || !strings.Contains(log.String(), tt.log) {
				t.Errorf("said %q, want %q in it; transcript, want %q in it:\n%s", said, tt.want, tt.log, log.String())
			}
		})
	}
	if saved, _ := os.ReadFile(file("saved.pem")); !strings.HasPrefix(string(mustRead(t, file("server.pem"))), string(saved)) || len(saved) == 0 {
		t.Errorf("the saved certificate is %q", saved)
	}
	if who, _ := os.ReadFile(file("who")); string(who) != "alice@example.org\n" {
		t.Errorf("logged in as %q", who)
	}
}

// The second process resumes the session of the first; a file that others may read is not used.
func TestKeptSession(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "session")
	cert := pair(t, filepath.Join(dir, "server.pem"), x509.Certificate{DNSNames: []string{"localhost"}})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	run := func() (resumed bool) {
		served := make(chan bool, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				served <- false
				return
			}
			defer c.Close()
			mailtest.Dialog(t, c, greets+"\n<- RCPT TO:<a@a.example>\n-> 250"+takes)
			served <- c.(*tls.Conn).ConnectionState().DidResume
		}()
		said, exit := smtpsend(t, "Subject: x\n\n", "--server", "smtps://localhost:"+port, "--cacert", filepath.Join(dir, "server.pem"), "--tls-session", file,
			"--helo", "me.example", "-f", "s@example.org", "a@a.example")
		if exit != 0 {
			t.Fatalf("exit %d: %s", exit, said)
		}
		return <-served
	}
	if run() {
		t.Error("the first session was resumed")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v, %v, want mode 600", info, err)
	}
	if !run() {
		t.Error("the second session was not resumed")
	}
	os.Chmod(file, 0o644)
	if run() {
		t.Error("a session that others may read was resumed")
	}
}

// A proxy's header and XCLIENT make the server believe in another client, where it takes them from us.
func TestPretend(t *testing.T) {
	dir := t.TempDir()
	office := filepath.Join(dir, "office")
	if err := os.MkdirAll(filepath.Join(office, "example.org", "alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "who")
	program := []string{"--", "sh", "-c", `echo "$TCPREMOTEIP:$TCPREMOTEPORT $TCPREMOTEHOST $TCPLOCALPORT $HELO" >` + out}
	behind := daemon(t, office, append([]string{"--proxy-from", "127.0.0.1"}, program...)...)
	tested := daemon(t, office, append([]string{"--xclient-from", "127.0.0.1"}, program...)...)
	for _, tt := range []struct {
		name, server string
		args         []string
		want         string
	}{
		{"v1", behind, []string{"--proxy-protocol", "v1 192.0.2.7:1234,192.0.2.8:25"}, "192.0.2.7:1234  25 me.example\n"},
		{"v2, IPv6", behind, []string{"--proxy-protocol", "v2 [2001:db8::7]:1234,[2001:db8::8]:2525"}, "2001:db8::7:1234  2525 me.example\n"},
		{"v2, local", behind, []string{"--proxy-protocol", "v2 local"}, "127.0.0.1:PORT  " + strings.TrimPrefix(behind, "localhost:") + " me.example\n"},
		{"v1, local", behind, []string{"--proxy-protocol", "v1 local"}, "127.0.0.1:PORT  " + strings.TrimPrefix(behind, "localhost:") + " me.example\n"},
		{"v1 without a destination", behind, []string{"--proxy-protocol", "v1 192.0.2.7"}, "192.0.2.7:0  " + strings.TrimPrefix(behind, "localhost:") + " me.example\n"},
		{"XCLIENT", tested, []string{"--xclient", "ADDR=192.0.2.9", "--xclient", "PORT=77"}, "192.0.2.9:77  " + strings.TrimPrefix(tested, "localhost:") + " me.example\n"},
		{"XCLIENT before TLS", tested, []string{"--xclient", "ADDR=192.0.2.10 PORT=78", "--xclient-before-tls"}, "192.0.2.10:78  " + strings.TrimPrefix(tested, "localhost:") + " me.example\n"},
		{"XCLIENT not offered", behind, []string{"--proxy-protocol", "v1 192.0.2.7:1234,192.0.2.8:25", "--xclient", "ADDR=192.0.2.9", "--xclient-optional"}, "192.0.2.7:1234  25 me.example\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said, exit := smtpsend(t, "Subject: x\n\n", append(tt.args, "-4", "--server", "smtp+notls://"+tt.server, "--helo", "me.example", "-f", "s@example.net", "alice@example.org")...)
			got, _ := os.ReadFile(out)
			if strings.Contains(tt.want, ":PORT ") { // chosen by the system
				got = regexp.MustCompile(`^127\.0\.0\.1:\d+ `).ReplaceAll(got, []byte("127.0.0.1:PORT "))
			}
			if exit != 0 || string(got) != tt.want {
				t.Errorf("exit %d, %s; the server saw %q, want %q", exit, said, got, tt.want)
			}
		})
	}
}
