package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"pennypost/internal/mailtest"
)

// scramOffice is newOffice with alice's secret in the form of SCRAM.
func scramOffice(t *testing.T) (bin, office string) {
	t.Helper()
	bin, office = newOffice(t)
	cmd := exec.Command(bin, "--office", office, "passwd", "--scram", "alice@example.org")
	cmd.Stdin = strings.NewReader("hunter2\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("passwd: %v\n%s", err, out)
	}
	return bin, office
}

// tlsClient is a client that has done STARTTLS and EHLO.
type tlsClient struct {
	t     *testing.T
	text  *textproto.Conn
	state tls.ConnectionState
	auth  []string // what is offered
}

func newTLSClient(t *testing.T, port string, config *tls.Config) *tlsClient {
	t.Helper()
	raw, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	c := &tlsClient{t: t, text: textproto.NewConn(raw)}
	c.read(220)
	c.say(250, "EHLO client.example")
	c.say(220, "STARTTLS")
	config.InsecureSkipVerify = true
	secure := tls.Client(raw, config)
	if err := secure.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	c.text, c.state = textproto.NewConn(secure), secure.ConnectionState()
	for line := range strings.Lines(c.say(250, "EHLO client.example")) {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "AUTH "); ok {
			c.auth = strings.Fields(list)
		}
	}
	return c
}

func (c *tlsClient) read(code int) string {
	c.t.Helper()
	_, text, err := c.text.ReadResponse(code)
	if err != nil {
		c.t.Fatalf("got %v, want %d", err, code)
	}
	return text
}

// say sends a line and wants a reply with that code; it returns its text.
func (c *tlsClient) say(code int, line string) string {
	c.t.Helper()
	if err := c.text.PrintfLine("%s", line); err != nil {
		c.t.Fatal(err)
	}
	return c.read(code)
}

// scram goes through an exchange that another implementation leads, and wants code at its end.
func (c *tlsClient) scram(mechanism, password string, binding scram.ChannelBinding, code int) {
	c.t.Helper()
	client, err := scram.SHA256.NewClient("alice@example.org", password, "")
	if err != nil {
		c.t.Fatal(err)
	}
	conv := client.NewConversation()
	if binding.Type != "" {
		conv = client.NewConversationWithChannelBinding(binding)
	}
	step := func(code int, before, challenge string) string {
		say, err := conv.Step(challenge)
		if err != nil {
			c.t.Fatalf("step: %v", err)
		}
		return c.say(code, before+base64.StdEncoding.EncodeToString([]byte(say)))
	}
	decode := func(text string) string {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			c.t.Fatal(err)
		}
		return string(b)
	}
	challenge := decode(step(334, "AUTH "+mechanism+" ", ""))
	if code != 235 {
		step(code, "", challenge)
		return
	}
	proof := decode(step(334, "", challenge))
	step(235, "", proof)
	if !conv.Valid() {
		c.t.Error("the server has not proved itself")
	}
}

func TestScramOverTLS(t *testing.T) {
	bin, office := scramOffice(t)
	port := listening(t, bin, office)
	for name, config := range map[string]*tls.Config{"TLS 1.3": {}, "TLS 1.2": {MaxVersion: tls.VersionTLS12}} {
		t.Run(name, func(t *testing.T) {
			c := newTLSClient(t, port, config)
			if want := []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"}; !slices.Equal(c.auth, want) {
				t.Fatalf("offered: %q, want %q", c.auth, want)
			}
			exporter, err := scram.NewTLSExporterBinding(&c.state)
			if err != nil {
				t.Fatal(err)
			}
			endPoint, err := scram.NewTLSServerEndpointBinding(&c.state)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("exporter", func(t *testing.T) {
				c := newTLSClient(t, port, config.Clone())
				own, _ := scram.NewTLSExporterBinding(&c.state)
				c.scram("SCRAM-SHA-256-PLUS", "hunter2", own, 235)
			})
			t.Run("of another connection", func(t *testing.T) {
				newTLSClient(t, port, config.Clone()).scram("SCRAM-SHA-256-PLUS", "hunter2", exporter, 535)
			})
			t.Run("end point", func(t *testing.T) {
				newTLSClient(t, port, config.Clone()).scram("SCRAM-SHA-256-PLUS", "hunter2", endPoint, 235)
			})
			c.scram("SCRAM-SHA-256", "wrong", scram.ChannelBinding{}, 535)
			c.scram("SCRAM-SHA-256", "hunter2", scram.ChannelBinding{}, 235)
		})
	}
}

// issue makes a certificate for a client or for the host of that name, signed by the authority, or the authority itself when that
// is nil.
func issue(t *testing.T, authority *tls.Certificate, name string, mail ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, EmailAddresses: mail,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if !strings.Contains(name, "@") {
		template.DNSNames = []string{name}
	}
	parent, signer := template, any(key)
	if authority == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestExternal(t *testing.T) {
	bin, office := newOffice(t)
	authority, stranger := issue(t, nil, "authority"), issue(t, nil, "stranger")
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate[0]})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	port := listening(t, bin, office, "--client-ca", file)
	encode := func(user string) string { return base64.StdEncoding.EncodeToString([]byte(user)) }
	for name, tt := range map[string]struct {
		certificate tls.Certificate
		say         string // after AUTH EXTERNAL; "" = it is not offered
		code        int
	}{
		"by address":               {issue(t, &authority, "bob", "nobody@example.org", "Alice@example.org"), "=", 235},
		"by common name":           {issue(t, &authority, "alice@example.org"), "=", 235},
		"as the user of it":        {issue(t, &authority, "alice@example.org"), encode("alice"), 235},
		"as somebody else":         {issue(t, &authority, "alice@example.org"), encode("bob@example.org"), 535},
		"as nobody":                {issue(t, &authority, "alice@example.org"), encode("nobody@example.org"), 535},
		"address before name":      {issue(t, &authority, "alice@example.org", "x@elsewhere.example"), "", 0},
		"of a stranger":            {issue(t, &stranger, "alice@example.org"), "", 0},
		"of nobody who lives here": {issue(t, &authority, "carol@example.org"), "", 0},
		"no certificate":           {tls.Certificate{}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			config := new(tls.Config)
			if tt.certificate.Leaf != nil {
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.certificate, nil }
			}
			c := newTLSClient(t, port, config)
			if got := slices.Contains(c.auth, "EXTERNAL"); got != (tt.say != "") {
				t.Fatalf("offered: %q", c.auth)
			}
			if tt.say != "" {
				c.say(tt.code, "AUTH EXTERNAL "+tt.say)
			} else {
				c.say(504, "AUTH EXTERNAL =")
			}
		})
	}
}

func TestMsmtpScram(t *testing.T) {
	mailtest.Peer(t, "msmtp")
	bin, office := scramOffice(t)
	port := listening(t, bin, office, "--submission")
	version, _ := exec.Command("msmtp", "--version").CombinedOutput()
	for _, mechanism := range []string{"scram-sha-256", "scram-sha-256-plus", "on"} {
		t.Run(mechanism, func(t *testing.T) {
			if mechanism != "on" && !slices.Contains(strings.Fields(string(version)), mechanism) {
				t.Skipf("this msmtp has no %s", mechanism)
			}
			for password, want := range map[string]bool{"hunter2": true, "wrong": false} {
				out, err := runPeer(t, "From: alice@example.org\nSubject: x\n\nx\n", "msmtp", "--file=/dev/null", "--host=127.0.0.1",
					"--port="+port, "--from=alice@example.org", "--tls=on", "--tls-starttls=on", "--tls-certcheck=off",
					"--auth="+mechanism, "--user=alice@example.org", "--passwordeval=echo "+password, "--", "bob@example.org")
				if (err == nil) != want || !want && !strings.Contains(out, "535 5.7.8") {
					t.Errorf("password %s: %v\n%s", password, err, out)
				}
			}
		})
	}
}

// plainSecret puts alice's password into passwd as it is.
func plainSecret(t *testing.T, office string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(office, "example.org", "passwd"), []byte("alice:{PLAIN}hun:ter 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSwaksMechanisms(t *testing.T) {
	mailtest.Peer(t, "swaks")
	bin, office := newOffice(t)
	plainSecret(t, office)
	port := listening(t, bin, office, "--allow-plaintext", "--cram-md5")
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		for password, want := range map[string]string{"hun:ter 2": "<-  235 2.7.0", "hun:ter": "<** 535 5.7.8"} {
			out, _ := runPeer(t, "", "swaks", "--server", "127.0.0.1", "--port", port, "--helo", "client.example", "--auth", mechanism,
				"--auth-user", "alice@example.org", "--auth-password", password, "--quit-after", "AUTH")
			if mechanism == "CRAM-MD5" && strings.Contains(out, "not available") {
				t.Skipf("swaks cannot do CRAM-MD5 here: %s", out)
			}
			if !strings.Contains(out, want) {
				t.Errorf("%s with %q: want %s\n%s", mechanism, password, want, out)
			}
		}
	}
}

func TestSmtplibMechanisms(t *testing.T) {
	mailtest.Peer(t, "python3")
	bin, office := newOffice(t)
	plainSecret(t, office)
	port := listening(t, bin, office, "--cram-md5")
	out, err := runPeer(t, "", "python3", "-c", `
import smtplib, ssl, sys
context = ssl._create_unverified_context()
for name in 'PLAIN', 'LOGIN', 'CRAM_MD5':
    for password in 'hun:ter 2', 'wrong':
        s = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), 'client.example')
        s.starttls(context=context)
        s.ehlo()
        s.user, s.password = 'alice@example.org', password
        try:
            print(name, s.auth(name.replace('_', '-'), getattr(s, 'auth_' + name.lower()))[0])
        except smtplib.SMTPAuthenticationError as e:
            print(name, e.smtp_code)
        s.quit()
`, port)
	const want = "PLAIN 235\nPLAIN 535\nLOGIN 235\nLOGIN 535\nCRAM_MD5 235\nCRAM_MD5 535\n"
	if err != nil || out != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
}
