package smtp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// office is a Handler with one user, chat@joursoir.net, and a postmaster. It keeps what it is given.
type office struct {
	mu    sync.Mutex
	mails []mail
	reset int
}

type mail struct {
	env  envelope.Envelope
	text string
}

func (o *office) Connect(_ context.Context, f *Facts) error {
	if f.Envelope.Conn.RemoteIP == "192.0.2.66" {
		return status.Errorf(status.NoPerm, "go away").WithReply(554, "5.7.1")
	}
	return nil
}

func (o *office) Mail(_ context.Context, _ *Facts, m *Mail) error {
	if m.Sender.Domain == "bad.example" {
		return status.Errorf(status.NoPerm, "no mail from there")
	}
	return nil
}

func (o *office) Rcpt(_ context.Context, _ *Facts, r *Recipient) error {
	switch a := r.Address; {
	case a.Domain == "" || a.Domain == "many.example":
		if a.Domain == "" {
			r.Address.Domain = "joursoir.net"
		}
		return nil
	case a.Domain != "joursoir.net":
		return status.Errorf(status.TempFail, "%s: Relay access denied", a.Path()).WithReply(454, "4.7.1")
	case a.Local != "chat":
		return status.Errorf(status.NoUser, "%s: Recipient address rejected: User unknown in virtual mailbox table", a.Path())
	}
	return nil
}

func (o *office) Data(_ context.Context, f *Facts, m *message.Message) error {
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		return err
	}
	switch h, _ := m.Header(); h.Get("Subject") {
	case "refuse":
		return status.Errorf(status.NoPerm, "not this one")
	case "later":
		return errors.New("disk trouble")
	}
	if r := f.Envelope.Recipients; len(r) == 1 && r[0].Local == "full" {
		return status.Errorf(status.IO, "mailbox full").WithReply(452, "4.2.2")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mails = append(o.mails, mail{*f.Envelope, string(b)})
	return nil
}

func (o *office) Reset(*Facts) { o.mu.Lock(); o.reset++; o.mu.Unlock() }

func (o *office) one(t *testing.T) mail {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.mails) != 1 {
		t.Fatalf("got %d mails, want 1", len(o.mails))
	}
	return o.mails[0]
}

// body is a mail without its Received field.
func (m mail) body() string {
	_, rest, _ := strings.Cut(m.text, "+0000\n")
	return rest
}

// verifyChat knows chat and its alias talk.
func verifyChat(_ context.Context, _ *Facts, word string) (said, box envelope.Address, err error) {
	said = envelope.Address{Local: word, Domain: "joursoir.net"}
	if word != "chat" && word != "talk" && word != "\u00fc" {
		return said, box, status.Errorf(status.NoUser, "%s: no such mailbox", said.Path())
	}
	return said, envelope.Address{Local: "chat", Domain: "joursoir.net"}, nil
}

// testAuth knows alice with the password secret; broken has trouble.
func testAuth(plaintext bool) *Authenticator {
	return &Authenticator{
		Mechanisms: []string{"PLAIN", "LOGIN"},
		Plaintext:  plaintext,
		Start: func(mechanism string, accepted func(string)) AuthExchange {
			return &testExchange{login: mechanism == "LOGIN", accepted: accepted}
		},
	}
}

type testExchange struct {
	login    bool
	accepted func(string)
	heard    []string
}

func (x *testExchange) Next(response []byte) ([]byte, bool, error) {
	if response != nil {
		x.heard = append(x.heard, string(response))
	}
	said := strings.Join(x.heard, "\x00")
	switch {
	case x.login && len(x.heard) == 0:
		return []byte("Username:"), false, nil
	case x.login && len(x.heard) == 1:
		return []byte("Password:"), false, nil
	case len(x.heard) == 0:
		return nil, false, nil
	case strings.Contains(said, "broken"):
		return nil, false, errors.Join(status.Errorf(status.IO, "directory gone"))
	case strings.TrimPrefix(said, "\x00") != "alice\x00secret":
		return nil, false, status.Errorf(status.NoPerm, "wrong password")
	}
	x.accepted("alice@joursoir.net")
	return nil, true, nil
}

// testTLS is a pair for smtp.joursoir.net and the pool that trusts it.
func testTLS(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"smtp.joursoir.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}
