package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// sentText is the message of tests that look for it at the other end.
const sentText = "Subject: x\n\nbody\n"

// receiver is an smtpd for users of these domains, alice in each, on 127.0.0.1 with a certificate for names, which it returns.
func receiver(t *testing.T, domains []string, names ...string) (office string, port string, leaf *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range domains {
		if err := os.MkdirAll(filepath.Join(dir, "office", d, "alice"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "server.pem")
	made := pair(t, file, x509.Certificate{Subject: pkix.Name{CommonName: "receiver"}, DNSNames: names})
	leaf, err := x509.ParseCertificate(made.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	office = filepath.Join(dir, "office")
	address := daemon(t, office, "--cert", file, "--key", file, "--", filepath.Join(mailtest.Build(t, "deliver"), "deliver"), "--office", office)
	return office, strings.TrimPrefix(address, "localhost:"), leaf
}

// received is how often the message has come, each time over TLS.
func received(t *testing.T, office, domain string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(office, domain, "alice/Maildir/new/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if got := string(mustRead(t, name)); !strings.Contains(got, " with ESMTPS") || !strings.HasSuffix(got, sentText) {
			t.Errorf("received %q", got)
		}
	}
	return len(files)
}

// By a real Unbound and signed zones of a real Knot DNS a message goes only to a server that DANE vouches for.
func TestValidated(t *testing.T) {
	office, port, leaf := receiver(t, []string{"good.example", "name.good.example", "wrong.good.example", "pkix.good.example",
		"clear.good.example", "plain.example", "stale.example"}, "nobody.example")
	sum := fmt.Sprintf("%x", sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
	number, _ := strconv.Atoi(port)
	mailtest.Serve(t, "127.0.0.2", number, func(_ context.Context, c net.Conn) { take(c) }) // it has no TLS
	exchanger := func(name, ip, tlsa string) string {
		return fmt.Sprintf("%s MX 10 mx.%[1]s\nmx.%[1]s A %[2]s\n_%[3]s._tcp.mx.%[1]s TLSA %[4]s\n", name, ip, port, tlsa)
	}
	zero := strings.Repeat("00", 32)
	good := "@ MX 10 mx\nmx A 127.0.0.1\n_" + port + "._tcp.mx TLSA 3 1 1 " + sum + "\n"
	dns := mailtest.Validated(t, map[string]mailtest.ZoneBelow{
		"good.example": {Text: good + exchanger("wrong", "127.0.0.1", "3 1 1 "+zero) + exchanger("pkix", "127.0.0.1", "1 1 1 "+zero) +
			exchanger("clear", "127.0.0.2", "3 1 1 "+sum) + exchanger("name", "127.0.0.1", "2 0 1 "+fmt.Sprintf("%x", sha256.Sum256(leaf.Raw)))},
		"plain.example": {Text: strings.Replace(good, sum, zero, 1), Unsigned: true},
		"stale.example": {Text: good, Signed: time.Now().AddDate(-1, 0, 0)},
	})
	for _, tt := range []struct {
		domain, want string
		exit, took   int
	}{
		{"good.example", "K\talice@good.example\tmx.good.example[127.0.0.1]:" + port + "\t250 ", 0, 1},
		{"pkix.good.example", "K\t", 0, 1},
		{"plain.example", "K\t", 0, 1},
		{"wrong.good.example", "\t451 4.7.5 TLS handshake: DANE: none of 1 TLSA record(s) fits the certificate", 75, 0},
		{"name.good.example", "\t451 4.7.5 TLS handshake: DANE: x509: certificate is valid for nobody.example, not mx.name.good.example", 75, 0},
		{"clear.good.example", "TLS is required and not offered", 75, 0},
		{"stale.example", "\t451 4.4.3 stale.example: look up MX \"stale.example\" at " + dns + ": server failure", 75, 0},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			said, exit := smtpsend(t, sentText, "--resolver", dns, "--port", port, "--timeout", "20s", "-f", "", "alice@"+tt.domain)
			if !strings.Contains(said, tt.want) || exit != tt.exit {
				t.Errorf("exit %d, want %d, said %q, want %q in it", exit, tt.exit, said, tt.want)
			}
			if n := received(t, office, tt.domain); n != tt.took {
				t.Errorf("the server has %d messages, want %d", n, tt.took)
			}
		})
	}
	queueBoth(t, office, "good.example", "wrong.good.example", "--resolver", dns, "--port", port)
}

// queueBoth wants a run of the queue to bring a second message to alice in one domain, and to keep that for the other.
func queueBoth(t *testing.T, office, good, bad string, flags ...string) {
	t.Helper()
	queue := filepath.Join(t.TempDir(), "queue")
	if said, exit := smtpsend(t, sentText, "--queue", queue, "-f", "", "alice@"+good, "alice@"+bad); exit != 0 {
		t.Fatalf("exit %d: %s", exit, said)
	}
	said, exit := smtpsend(t, "", append([]string{"--queue", queue, "run"}, flags...)...)
	left, _ := smtpsend(t, "", "--queue", queue, "list")
	if exit != 0 || !strings.Contains(left, "\talice@"+bad+"\t") || strings.Contains(left, "\talice@"+good+"\t") {
		t.Errorf("exit %d, %s; left in the queue: %q", exit, said, left)
	}
	if a, b := received(t, office, good), received(t, office, bad); a != 2 || b != 0 {
		t.Errorf("received %d, want 2, and %d, want none", a, b)
	}
}
