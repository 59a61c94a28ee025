package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	oracle "github.com/emersion/go-msgauth/dkim"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
)

// keys are made once: an RSA key takes a while.
var keys = sync.OnceValue(func() (k struct{ rsa, ed crypto.Signer }) {
	var err error
	if k.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if _, k.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	return k
})

// zone answers TXT questions from a map.
type zone map[string][]string

func (z zone) lookup(name string) ([]string, error) {
	switch txt, ok := z[name]; {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case len(txt) == 1 && txt[0] == "SERVFAIL":
		return nil, &net.DNSError{Err: "server failure", Name: name, IsTemporary: true}
	default:
		return txt, nil
	}
}

func (z zone) options() VerifyOptions {
	return VerifyOptions{LookupTXT: func(_ context.Context, name string) ([]string, error) { return z.lookup(name) }}
}

func testZone(t testing.TB) zone {
	t.Helper()
	z := zone{}
	for name, k := range map[string]crypto.Signer{"rsa": keys().rsa, "ed": keys().ed} {
		record, err := Record(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		z[Query(name, "example.org")] = []string{record}
	}
	return z
}

func signer(name string) SignOptions {
	k := keys().rsa
	if name == "ed" {
		k = keys().ed
	}
	return SignOptions{Domain: "example.org", Selector: name, Key: k}
}

func signed(t testing.TB, text string, o SignOptions) string {
	t.Helper()
	m := message.Bytes([]byte(text))
	field, err := Sign(m, o)
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	all, err := readAll(Prepend(m, field))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readAll(m *message.Message) (string, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(m.Reader())
	return b.String(), err
}

func verify(t testing.TB, text string, o VerifyOptions) []Result {
	t.Helper()
	r, err := Verify(t.Context(), message.Bytes([]byte(text)), o)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return r
}

// one is the verdict and reason of a message with a single signature.
func one(t testing.TB, text string, o VerifyOptions) string {
	t.Helper()
	r := verify(t, text, o)
	if len(r) != 1 {
		t.Fatalf("got %d results, want 1", len(r))
	}
	return strings.TrimSpace(string(r[0].Verdict) + " " + r[0].Reason)
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const letter = "From: Alice <alice@example.org>\nTo: bob@example.net,\n\tcarol@example.net\nSubject:  two   blanks \nDate: Tue, 24 Nov 2026 06:00:00 +0000\n\nHello.\n\n  indented \t text  \nend\n\n\n"

var messages = map[string]string{
	"letter":         letter,
	"no bytes":       "",
	"no header":      "just a line\nand another\n",
	"starts blank":   "\nbody\n",
	"starts with WS": "  not a header\nFrom: x\n\nbody\n",
	"header only":    "From: a@example.org\nSubject: x\n",
	"no final line":  "From: a@example.org\n\nno line end",
	"empty body":     "From: a@example.org\n\n",
	"blank body":     "From: a@example.org\n\n\n \n\t\n\n",
	"8 bit":          "From: J\xfcrgen <j@example.org>\nSubject: \xff\xfe\x80\n\n\xe9\x00\x01 body\n",
	"two from":       "From: a@example.org\nFrom: b@example.org\n\nx\n",
	"bare CR":        "From: a@example.org\n\na\rb \r c\r\r\n\rx\n\r",
	"junk in header": "From: a@example.org\nthis is no field\nSubject: y\n\nx\n",
	"blank run":      "From: a@example.org\n\na\n" + strings.Repeat("\n", 9000) + "b" + strings.Repeat("\n", 5000),
}

func TestSignThenVerify(t *testing.T) {
	z := testZone(t)
	for name, text := range messages {
		for _, key := range []string{"rsa", "ed"} {
			for _, c := range []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"} {
				o := signer(key)
				o.Header, o.Body, _ = ParseCanon(c)
				all := signed(t, text, o)
				if !strings.HasSuffix(all, text) {
					t.Errorf("%s %s %s: the message changed", name, key, c)
				}
				if got := one(t, all, z.options()); got != "pass" {
					t.Errorf("%s %s %s: got %q, want pass", name, key, c, got)
				}
				if strings.Contains(text, "\r") {
					continue
				}
				if got := one(t, crlf(all), z.options()); got != "pass" {
					t.Errorf("%s %s %s with CRLF: got %q, want pass", name, key, c, got)
				}
			}
		}
	}
}

// TestOracle lets go-msgauth read what we sign and the other way round. It
// takes no message without an empty line after the header and none with bare CRs.
func TestOracle(t *testing.T) {
	z := testZone(t)
	for _, name := range []string{"letter", "starts blank", "no final line", "empty body", "blank body", "8 bit", "two from", "blank run"} {
		text := messages[name]
		for _, key := range []string{"rsa", "ed"} {
			for _, c := range []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"} {
				o := signer(key)
				o.Header, o.Body, _ = ParseCanon(c)
				checkByOracle(t, z, name+" "+c, crlf(signed(t, text, o)))
				if strings.HasPrefix(text, "\n") {
					continue // it signs no header at all
				}
				all := signByOracle(t, crlf(text), o)
				if got := one(t, all, z.options()); got != "pass" {
					t.Errorf("%s %s %s signed by the oracle: got %q, want pass", name, key, c, got)
				}
			}
		}
	}
}

func checkByOracle(t *testing.T, z zone, name, all string) {
	t.Helper()
	v, err := oracle.VerifyWithOptions(strings.NewReader(all), &oracle.VerifyOptions{LookupTXT: z.lookup})
	if err != nil || len(v) != 1 {
		t.Errorf("%s: oracle: %d signatures, %v", name, len(v), err)
	} else if v[0].Err != nil {
		t.Errorf("%s: oracle: %v", name, v[0].Err)
	}
}

func signByOracle(t *testing.T, text string, o SignOptions) string {
	t.Helper()
	var out bytes.Buffer
	err := oracle.Sign(&out, strings.NewReader(text), &oracle.SignOptions{
		Domain: o.Domain, Selector: o.Selector, Signer: o.Key,
		HeaderCanonicalization: oracle.Canonicalization(o.Header),
		BodyCanonicalization:   oracle.Canonicalization(o.Body),
	})
	if err != nil {
		t.Fatalf("oracle: %v", err)
	}
	return out.String()
}

func TestSignedFieldIsFolded(t *testing.T) {
	long := letter
	for i := range 200 {
		long = fmt.Sprintf("X-Field-%d: x\n", i) + long
	}
	o := signer("rsa")
	o.Fields = append([]string{}, DefaultFields...)
	for i := range 200 {
		o.Fields = append(o.Fields, fmt.Sprintf("X-Field-%d", i))
	}
	o.Identifier = "a;b=c@mail.example.org"
	o.Expires = time.Now().Add(time.Hour)
	all := signed(t, long, o)
	field := strings.TrimSuffix(all, long)
	for _, line := range strings.Split(field, "\n") {
		if len(line) > 78 {
			t.Errorf("line of %d bytes: %q", len(line), line)
		}
	}
	if strings.Contains(field, " l=") {
		t.Errorf("the field has l=: %q", field)
	}
	z := testZone(t)
	r := verify(t, all, z.options())[0]
	if r.Verdict != Pass || r.Identifier != o.Identifier {
		t.Errorf("got %s %s, i=%q", r.Verdict, r.Reason, r.Identifier)
	}
}

func TestOversigning(t *testing.T) {
	z := testZone(t)
	all := signed(t, letter, signer("ed"))
	for _, name := range DefaultOversign {
		if got := one(t, name+": evil@example.com\n"+all, z.options()); got != "fail the signature does not match" {
			t.Errorf("another %s: got %q", name, got)
		}
	}
	for _, name := range []string{"Sender", "List-Id", "Received"} {
		if got := one(t, name+": a\n"+all, z.options()); got != "pass" {
			t.Errorf("a %s, which may be added: got %q", name, got)
		}
	}
	o := signer("ed")
	o.Oversign = []string{"Reply-To"}
	all = signed(t, letter, o)
	if got := one(t, "Reply-To: evil@example.com\n"+all, z.options()); got != "fail the signature does not match" {
		t.Errorf("a new Reply-To: got %q", got)
	}
}

func TestSignRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*SignOptions){
		"bad domain ":                   func(o *SignOptions) { o.Domain = "exa mple.org" },
		"bad selector ":                 func(o *SignOptions) { o.Selector = "a;b" },
		"identifier ":                   func(o *SignOptions) { o.Identifier = "a@elsewhere.example" },
		"no key":                        func(o *SignOptions) { o.Key = nil },
		"the signature would end ":      func(o *SignOptions) { o.Expires = time.Unix(1, 0) },
		"bad header field name \"a:b\"": func(o *SignOptions) { o.Fields = []string{"a:b"} },
	} {
		o := signer("ed")
		change(&o)
		if _, err := Sign(message.Bytes([]byte(letter)), o); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("got %v, want %s...", err, name)
		}
	}
	o := signer("rsa")
	o.Key = small
	if _, err := Sign(message.Bytes([]byte(letter)), o); err != nil {
		t.Errorf("1024 bits are enough: %v", err)
	}
}

// TestCorpus checks public conformance data that lies beside the project.
func TestCorpus(t *testing.T) {
	dir := mailtest.Corpus(t, "dkim")
	t.Run("stalwart", func(t *testing.T) {
		files, _ := filepath.Glob(filepath.Join(dir, "stalwart/*.txt"))
		if len(files) == 0 {
			t.Fatal("no cases")
		}
		for _, file := range files {
			z, text := readCase(t, file)
			o := z.options()
			o.Now = time.Unix(1667900000, 0) // when most of them were valid
			results := verify(t, text, o)
			if len(results) == 0 {
				t.Errorf("%s: no signature", filepath.Base(file))
			}
			for i, r := range results {
				if r.Verdict != Pass {
					t.Errorf("%s, signature %d: %s %s", filepath.Base(file), i+1, r.Verdict, r.Reason)
				}
			}
		}
	})
	t.Run("rfc", func(t *testing.T) {
		z := rfcZone
		for file, want := range map[string]string{
			"rfc6376-A.2.eml":                         "pass",
			"rfc6376-A.2-body_modified.eml":           "fail the body hash does not match",
			"rfc6376-A.2-header_subject_modified.eml": "fail the signature does not match",
			"rfc6376-A.2-ill_formed-list_id.eml":      "pass", // what is ill-formed is not signed
			"rfc6376-A.2-ill_formed-missing_v.eml":    "permerror no v= tag",
			"rfc8463-A.3.eml":                         "pass/pass",
			"rfc8463-A.3-key_algo_mismatch.eml":       "permerror the key is rsa, the signature ed25519/permerror the key is ed25519, the signature rsa",
		} {
			text, err := os.ReadFile(filepath.Join(dir, "dkim_verifier", file))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range verify(t, string(text), z.options()) {
				got = append(got, strings.TrimSpace(string(r.Verdict)+" "+r.Reason))
			}
			if s := strings.Join(got, "/"); s != want {
				t.Errorf("%s: got %q, want %q", file, s, want)
			}
		}
	})
}

// readCase reads lines of "name record", an empty line and a message.
func readCase(t *testing.T, file string) (zone, string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	dns, text, ok := strings.Cut(text, "\n\n")
	if !ok {
		t.Fatalf("%s: no empty line", file)
	}
	z := zone{}
	for _, line := range strings.Split(dns, "\n") {
		name, record, _ := strings.Cut(line, " ")
		z[strings.TrimSuffix(name, ".")] = []string{record}
	}
	return z, text
}

var rfcZone = zone{
	"brisbane._domainkey.example.com": {"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt" +
		"IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"},
	"brisbane._domainkey.football.example.com": {"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
	"test._domainkey.football.example.com": {"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/b" +
		"yYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"},
}
