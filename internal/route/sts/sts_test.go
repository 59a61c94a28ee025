package sts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
)

const policyText = "version: STSv1\r\nmode: enforce\r\nmx: *.a.example\r\nmax_age: 86400\r\n"

// web is an HTTPS server with a certificate for mta-sts.a.example only. It
// returns its authority and port and counts requests.
func web(t *testing.T, handler http.HandlerFunc) (*x509.CertPool, int, *atomic.Int32) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mta-sts.a.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	var asked atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return roots, server.Listener.Addr().(*net.TCPAddr).Port, &asked
}

func names(t *testing.T, zone string) *resolver.Resolver {
	t.Helper()
	r, err := resolver.New(resolver.Options{Server: mailtest.DNS(t, zone)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func plain(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(text))
	}
}

const announcing = `
	_mta-sts.a.example.  TXT "v=STSv1; id=one;"
	mta-sts.a.example.   A 127.0.0.1
	_mta-sts.b.example.  TXT "v=STSv1; id=one;"
	mta-sts.b.example.   A 127.0.0.1
	_mta-sts.c.example.  TXT "v=STSv1; id=one;"
	_mta-sts.twice.example.  TXT "v=STSv1; id=one;"
	_mta-sts.twice.example.  TXT "v=STSv1; id=two;"
	;! servfail _mta-sts.broken.example
`

func TestPolicy(t *testing.T) {
	for _, tt := range []struct {
		name, domain string
		handler      http.HandlerFunc
		want         string // part of the error
	}{
		{"found", "a.example", plain(policyText), ""},
		{"not for this name", "b.example", plain(policyText), "certificate is valid for mta-sts.a.example"},
		{"no web server", "c.example", plain(policyText), "no such domain"},
		{"two records", "twice.example", plain(policyText), "more than one STSv1 record"},
		{"DNS trouble", "broken.example", plain(policyText), "server failure"},
		{"redirect", "a.example", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://mta-sts.a.example/elsewhere", http.StatusFound)
		}, "answer is 302, not 200"},
		{"missing", "a.example", http.NotFound, "answer is 404, not 200"},
		{"HTML", "a.example", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(policyText))
		}, "is not text/plain"},
		{"too large", "a.example", plain(policyText + strings.Repeat("x: y\n", 20000)), "more than 65536 bytes"},
		{"nonsense", "a.example", plain("nonsense"), "is no \"key: value\""},
		{"wrong path", "a.example", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.well-known/mta-sts.txt" || r.Host != "mta-sts.a.example" {
				t.Errorf("asked for %s at %s", r.URL, r.Host)
			}
			plain(policyText)(w, r)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			roots, port, _ := web(t, tt.handler)
			s := &Source{Resolver: names(t, announcing), Roots: roots, Port: port}
			p, err := s.Policy(context.Background(), tt.domain)
			if tt.want != "" {
				if p != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %+v, %v, want %q", p, err, tt.want)
				}
				return
			}
			if err != nil || p.ID != "one" || p.Mode != route.ModeEnforce || !p.Match("mx.a.example") {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func TestUnknownAuthority(t *testing.T) {
	_, port, asked := web(t, plain(policyText))
	s := &Source{Resolver: names(t, announcing), Roots: x509.NewCertPool(), Port: port}
	if p, err := s.Policy(context.Background(), "a.example"); p != nil || err == nil || asked.Load() != 0 {
		t.Errorf("got %+v, %v, %d requests", p, err, asked.Load())
	}
}

func TestNoRecordNoRequest(t *testing.T) {
	_, port, asked := web(t, plain(policyText))
	s := &Source{Resolver: names(t, "mta-sts.a.example. A 127.0.0.1"), Port: port}
	if p, err := s.Policy(context.Background(), "a.example"); p != nil || err != nil || asked.Load() != 0 {
		t.Errorf("got %+v, %v, %d requests", p, err, asked.Load())
	}
}

// TestKept: a policy is fetched once for each id and holds when the record goes
// or the web server fails; when its age is over it is gone.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	cache, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	roots, port, asked := web(t, plain(policyText))
	with := func(zone string) *Source {
		return &Source{Resolver: names(t, zone), Cache: cache, Roots: roots, Port: port}
	}
	expect := func(what string, s *Source, wantID string, requests int32, failure bool) {
		t.Helper()
		p, err := s.Policy(context.Background(), "a.example")
		id := ""
		if p != nil {
			id = p.ID
		}
		if id != wantID || asked.Load() != requests || (err != nil) != failure {
			t.Errorf("%s: got id %q, %d requests, %v", what, id, asked.Load(), err)
		}
	}
	expect("first", with(announcing), "one", 1, false)
	expect("again", with(announcing), "one", 1, false)
	expect("record gone", with("a.example. A 192.0.2.1"), "one", 1, false)
	expect("DNS trouble", with(";! servfail _mta-sts.a.example"), "one", 1, true)
	expect("new id, web gone", with(`_mta-sts.a.example. TXT "v=STSv1; id=two"`), "one", 1, true)
	expect("new id", with(strings.ReplaceAll(announcing, "id=one", "id=two")), "two", 2, false)

	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != "a.example" {
		t.Errorf("files: %v, %v", list, err)
	}
	path := filepath.Join(dir, "a.example")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	soon := time.Now().Add(time.Hour).Unix()
	write(fmt.Sprintf("two %d\n%s", soon, policyText))
	expect("old and web gone", with(`_mta-sts.a.example. TXT "v=STSv1; id=two"`), "two", 2, true)
	expect("old", with(strings.ReplaceAll(announcing, "id=one", "id=two")), "two", 3, false)
	expect("renewed", with(strings.ReplaceAll(announcing, "id=one", "id=two")), "two", 3, false)
	write("two 1000000000\n" + policyText)
	expect("over", with("a.example. A 192.0.2.1"), "", 3, false)
	write("what\n")
	expect("damaged", with("a.example. A 192.0.2.1"), "", 3, true)
	expect("damaged, fetched", with(announcing), "one", 4, false)
}

func TestOddNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../x", strings.Repeat("a", 300)} {
		if fits(name) {
			t.Errorf("%q would be a file", name)
		}
	}
}

// TestOutOfRoom: a policy that cannot be kept counts all the same.
func TestOutOfRoom(t *testing.T) {
	dir := t.TempDir()
	cache, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if err := os.Mkdir(filepath.Join(dir, "a.example"), 0o700); err != nil {
		t.Fatal(err)
	}
	roots, port, _ := web(t, plain(policyText))
	s := &Source{Resolver: names(t, announcing), Cache: cache, Roots: roots, Port: port}
	p, err := s.Policy(context.Background(), "a.example")
	if p == nil || err == nil {
		t.Errorf("got %+v, %v", p, err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("files: %v", list)
	}
}
