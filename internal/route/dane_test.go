package route

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"pennypost/internal/resolver"
)

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate for names, or of an authority if there is none,
// signed by parent, or by itself if that is nil.
func issue(t testing.TB, parent *issued, until time.Time, names ...string) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "made by " + t.Name()},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, DNSNames: names,
		BasicConstraintsValid: true, IsCA: len(names) == 0,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	signer := &issued{template, key}
	if parent != nil {
		signer = parent
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{cert, key}
}

func record(usage, selector, matching uint8, c *x509.Certificate) resolver.TLSA {
	data := c.Raw
	if selector == selectorKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case match256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case match512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return resolver.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Data: data}
}

// handshake shows the chain to a client over TLS and returns what that sees.
func handshake(t *testing.T, chain ...*issued) tls.ConnectionState {
	t.Helper()
	shown := tls.Certificate{PrivateKey: chain[0].key}
	for _, c := range chain {
		shown.Certificate = append(shown.Certificate, c.cert.Raw)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{shown}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake() // the client tells how it ended
			c.Close()
		}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{ServerName: "mx.example", InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState()
}

func TestVerify(t *testing.T) {
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	root := issue(t, nil, later)
	middle := issue(t, root, later)
	leaf := issue(t, middle, later, "mx.example")
	stale := issue(t, middle, before, "mx.example")
	other := issue(t, middle, later, "other.example")
	domain := issue(t, middle, later, "example.org")
	wild := issue(t, middle, later, "*.example")
	self := issue(t, nil, before, "whoever.example")
	stranger := issue(t, nil, later)
	for _, tt := range []struct {
		name   string
		chain  []*issued
		record resolver.TLSA
		want   string // part of the error
	}{
		{"EE key", []*issued{leaf}, record(3, 1, 1, leaf.cert), ""},
		{"EE certificate", []*issued{leaf}, record(3, 0, 2, leaf.cert), ""},
		{"EE in full", []*issued{leaf}, record(3, 1, 0, leaf.cert), ""},
		{"EE without regard to name and date", []*issued{self}, record(3, 1, 1, self.cert), ""},
		{"EE of another key", []*issued{leaf}, record(3, 1, 1, other.cert), "none of 1 TLSA"},
		{"EE is not about authorities", []*issued{leaf, middle}, record(3, 1, 1, middle.cert), "none of 1 TLSA"},
		{"TA in the middle", []*issued{leaf, middle}, record(2, 1, 1, middle.cert), ""},
		{"TA root", []*issued{leaf, middle, root}, record(2, 0, 2, root.cert), ""},
		{"TA root not sent", []*issued{leaf, middle}, record(2, 0, 1, root.cert), "none of 1 TLSA"},
		{"TA root in the record", []*issued{leaf, middle}, record(2, 0, 0, root.cert), ""},
		{"TA chain broken", []*issued{leaf, root}, record(2, 0, 1, root.cert), "unknown authority"},
		{"TA not of this chain", []*issued{leaf, middle, stranger}, record(2, 0, 1, stranger.cert), "unknown authority"},
		{"TA another name", []*issued{other, middle}, record(2, 1, 1, middle.cert), "not mx.example"},
		{"TA name of the domain", []*issued{domain, middle}, record(2, 1, 1, middle.cert), ""},
		{"TA wildcard", []*issued{wild, middle}, record(2, 1, 1, middle.cert), ""},
		{"TA expired", []*issued{stale, middle}, record(2, 1, 1, middle.cert), "expired"},
		{"TA rubbish", []*issued{leaf, middle}, resolver.TLSA{Usage: 2, Data: []byte("x")}, "none of 1 TLSA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &DANE{Records: []resolver.TLSA{tt.record}, Names: []string{"mx.example", "example.org"}}
			err := d.Verify(handshake(t, tt.chain...))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if err := (&DANE{}).Verify(tls.ConnectionState{}); err == nil {
		t.Error("no certificate is enough")
	}
	both := &DANE{Records: []resolver.TLSA{record(3, 1, 1, other.cert), record(3, 1, 1, leaf.cert)}}
	if err := both.Verify(handshake(t, leaf)); err != nil {
		t.Errorf("one of two records fits, yet %v", err)
	}
}

func TestUsable(t *testing.T) {
	sum, long := make([]byte, 32), make([]byte, 64)
	for _, tt := range []struct {
		name    string
		records []resolver.TLSA
		want    int
	}{
		{"none", nil, 0},
		{"EE", []resolver.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Data: sum}}, 1},
		{"TA", []resolver.TLSA{{Usage: 2, Selector: 0, MatchingType: 2, Data: long}}, 1},
		{"PKIX", []resolver.TLSA{{Usage: 0, Selector: 1, MatchingType: 1, Data: sum}, {Usage: 1, Selector: 1, MatchingType: 1, Data: sum}}, 0},
		{"unknown parameters", []resolver.TLSA{{Usage: 4, Data: sum}, {Usage: 3, Selector: 2, Data: sum}, {Usage: 3, MatchingType: 3, Data: sum}}, 0},
		{"digest of wrong length", []resolver.TLSA{{Usage: 3, MatchingType: 1, Data: long}, {Usage: 3, MatchingType: 2, Data: sum}}, 0},
		{"strongest digest", []resolver.TLSA{{Usage: 3, MatchingType: 1, Data: sum}, {Usage: 3, MatchingType: 2, Data: long}, {Usage: 3, Data: sum}}, 2},
		{"bad digest is no strongest", []resolver.TLSA{{Usage: 3, MatchingType: 1, Data: sum}, {Usage: 3, MatchingType: 2, Data: sum}}, 1},
		{"each selector for itself", []resolver.TLSA{{Usage: 3, MatchingType: 1, Data: sum}, {Usage: 3, Selector: 1, MatchingType: 2, Data: long}}, 2},
	} {
		if got := len(usableTLSA(tt.records)); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}
