package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// probeHost is a server that refuses some recipients and must never see a message.
type probeHost struct{ t *testing.T }

func (probeHost) Connect(context.Context, *smtp.Facts) error          { return nil }
func (probeHost) Mail(context.Context, *smtp.Facts, *smtp.Mail) error { return nil }
func (probeHost) Reset(*smtp.Facts)                                   {}

func (probeHost) Rcpt(_ context.Context, f *smtp.Facts, r *smtp.Recipient) error {
	switch {
	case r.Address.Local == "unknown":
		return status.Errorf(status.NoUser, "no such user").WithReply(550, "5.1.1")
	case r.Address.Local == "grey":
		return status.Errorf(status.TempFail, "come back later").WithReply(451, "4.7.1")
	case r.Address.Local == "reply" && f.Envelope.Sender.String() != "me@example.net":
		return status.Errorf(status.HardFail, "only from me").WithReply(550, "5.7.1")
	}
	return nil
}

func (h probeHost) Data(context.Context, *smtp.Facts, *message.Message) error {
	h.t.Error("a probe sent a message")
	return nil
}

func engine(t *testing.T, config *tls.Config) func(context.Context, net.Conn) {
	e := &smtp.Engine{Name: "mx.example", Handler: probeHost{t}, TLS: config}
	return func(ctx context.Context, c net.Conn) { e.Serve(ctx, c, envelope.Connection{RemoteIP: "127.0.0.1"}) }
}

// probeCertificate is a self-signed one for name that ends after left, in PEM too, and the SHA-256 sum of its key.
func probeCertificate(t *testing.T, name string, left time.Duration) (config *tls.Config, text []byte, sum string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-100 * time.Hour), NotAfter: time.Now().Add(left)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		fmt.Sprintf("%x", sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
}

// probeWorld are hosts with a certificate each, their DNS server and the authorities to trust.
func probeWorld(t *testing.T) (dns, roots string, port int) {
	good, goodPEM, sum := probeCertificate(t, "good.example", 50*time.Hour)
	old, oldPEM, _ := probeCertificate(t, "old.example", -50*time.Hour)
	port = mailtest.Serve(t, "127.0.0.1", 0, engine(t, good))
	mailtest.Serve(t, "127.0.0.2", port, engine(t, old))
	mailtest.Serve(t, "127.0.0.3", port, engine(t, nil))
	mailtest.Serve(t, "127.0.0.4", port, func(ctx context.Context, c net.Conn) { <-ctx.Done() })
	mailtest.Serve(t, "127.0.0.5", port, func(ctx context.Context, c net.Conn) {
		fmt.Fprintf(c, "554 go \x1b[31maway\r\n")
		<-ctx.Done()
	})
	roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, append(goodPEM, oldPEM...), 0o600); err != nil {
		t.Fatal(err)
	}
	return mailtest.DNS(t, fmt.Sprintf(`
		good.example.    A 127.0.0.1
		wrong.example.   A 127.0.0.1
		old.example.     A 127.0.0.2
		clear.example.   A 127.0.0.3
		silent.example.  A 127.0.0.4
		away.example.    A 127.0.0.5
		two.example.     MX 10 silent.example.
		two.example.     MX 20 good.example.
		1.0.0.127.in-addr.arpa. PTR good.example.
		2.0.0.127.in-addr.arpa. PTR good.example.
		;! secure        safe.example
		safe.example.    A 127.0.0.1
		_%[1]d._tcp.safe.example.  TLSA 3 1 1 %[2]s
		;! secure        false.example
		false.example.   A 127.0.0.1
		_%[1]d._tcp.false.example. TLSA 3 1 1 %[3]s
		;! secure        bare.example
		bare.example.    A 127.0.0.3
		_%[1]d._tcp.bare.example.  TLSA 3 1 1 %[2]s
	`, port, sum, strings.Repeat("00", 32))), roots, port
}

// TestProbe: what is told of each kind of host, and how it ends.
func TestProbe(t *testing.T) {
	program := filepath.Join(mailtest.Build(t, "mx"), "mx")
	dns, roots, port := probeWorld(t)
	run := func(args ...string) (string, int) {
		cmd := exec.Command(program, append([]string{"--probe", "--resolver", dns, "--port", strconv.Itoa(port)}, args...)...)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, tt := range []struct {
		args   string
		want   []string
		status int
	}{
		{"good.example", []string{" usable\n", "opportunistic", "ptr     good.example. confirmed",
			"banner  220 mx.example", "ehlo    PIPELINING",
			"tls     TLS 1.3 TLS_", "for good.example, by", "2 days left", "chain   host good.example: verified"}, 0},
		{"wrong.example", []string{" usable\n", "chain   host wrong.example: x509: certificate is valid for good.example"}, 0},
		{"old.example", []string{" usable\n", "-2 days left", "expired", "good.example. does not lead back"}, 0},
		{"clear.example", []string{" usable\n", "tls     none", "ptr     none"}, 0},
		{"safe.example", []string{" usable\n", "demand  dane", "dane    1 TLSA: verified", "host safe.example: x509"}, 0},
		{"false.example", []string{"not usable", "demand  dane", "dane    1 TLSA: ", "tls     TLS 1.3"}, 76},
		{"bare.example", []string{"not usable", "demand  dane", "ehlo    ", "tls     none"}, 76},
		{"--probe-timeout 300ms silent.example", []string{"not usable"}, 75},
		{"--probe-timeout 300ms two.example", []string{"10 silent.example", "not usable", "20 good.example", " usable\n"}, 0},
		{"away.example", []string{"not usable", `banner  554 go \x1b[31maway`}, 69},
		{"--rcpt user@good.example good.example", []string{" usable\n", "rcpt    250"}, 0},
		{"--rcpt unknown@good.example good.example", []string{"not usable", "rcpt    550 5.1.1 no such user"}, 69},
		{"--rcpt grey@good.example good.example", []string{"not usable", "rcpt    451 4.7.1 come back later"}, 75},
		{"--rcpt reply@good.example good.example", []string{"rcpt    550 5.7.1"}, 69},
		{"--rcpt reply@good.example --from me@example.net good.example", []string{"rcpt    250"}, 0},
		{"good.example false.example", []string{"good.example\t0 good.example", "false.example\t0 false.example"}, 76},
		{"--rcpt user@false.example false.example", []string{"not usable"}, 76},
		{"none.example", []string{"no such domain"}, 68},
		{"--from me@example.net good.example", []string{"--from without --rcpt"}, 64},
		{"--rcpt nonsense@ good.example", []string{"recipient"}, 64},
	} {
		t.Run(tt.args, func(t *testing.T) {
			out, code := run(strings.Fields(tt.args)...)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if code != tt.status {
				t.Errorf("exit %d, want %d\n%s", code, tt.status, out)
			}
			if strings.Contains(out, "\x1b") || strings.Contains(tt.args, "user@false") && strings.Contains(out, "rcpt ") {
				t.Errorf("it should not say\n%s", out)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) { probeJSON(t, run) })
}

// probeJSON: one object for each address, with the facts as members.
func probeJSON(t *testing.T, run func(...string) (string, int)) {
	out, code := run("--json", "--probe-timeout", "300ms", "two.example")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if code != 0 || len(lines) != 2 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	var p probed
	d := json.NewDecoder(bytes.NewReader([]byte(lines[1])))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if !p.Usable || p.Host != "good.example" || p.TLS == nil || !p.TLS.Chain.OK || p.TLS.Days != 2 ||
		len(p.PTR) != 1 || !p.PTR[0].Confirmed {
		t.Errorf("got %+v", p)
	}
}
