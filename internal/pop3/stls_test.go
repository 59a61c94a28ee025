package pop3

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1000, 0, 0), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestSTLS(t *testing.T) {
	box := newBox(t)
	client, server := net.Pipe()
	done := make(chan error)
	go func() {
		_, err := Serve(context.Background(), server, Options{Login: login(t, box), TLS: testTLS(t)})
		server.Close()
		done <- err
	}()
	mailtest.Dialog(t, client, `
<- +OK pennypost POP3 server ready
-> USER alice
<- -ERR give STLS before a password
-> CAPA
<- +OK capability list follows
<- TOP
<- UIDL
<- RESP-CODES
<- AUTH-RESP-CODE
<- PIPELINING
<- EXPIRE NEVER
<- STLS
<- IMPLEMENTATION pennypost
<- .
-> STLS
<- +OK begin TLS`)
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	mailtest.Dialog(t, c, `
-> STLS
<- -ERR TLS is not available
-> USER alice
<- +OK send PASS
-> PASS a secret
<- +OK 4 messages (62 octets)
-> QUIT
<- +OK bye`)
	// A pipe passes nothing on before it is read: the end of the session waits for the reader.
	go io.Copy(io.Discard, client)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What stands behind STLS in the same packet must not become a command of the encrypted session.
func TestSTLSWithInjectedCommand(t *testing.T) {
	client, server := net.Pipe()
	done := make(chan error)
	go func() {
		_, err := Serve(context.Background(), server, Options{Login: login(t, newBox(t)), TLS: testTLS(t)})
		server.Close()
		done <- err
	}()
	mailtest.Dialog(t, client, `
<- +OK pennypost POP3 server ready
=> STLS\r\nUSER alice\r\nPASS a secret\r\nSTAT\r\n
<- +OK begin TLS`)
	rest, _ := io.ReadAll(client)
	if err := <-done; err == nil || bytes.Contains(rest, []byte("+OK")) {
		t.Errorf("got %v and %q, want a failed handshake", err, rest)
	}
}
