package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Key is a public key as published in the DNS (RFC 6376 section 3.6.1).
type Key struct {
	Public  crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	Bits    int
	Testing bool   // t=y
	Strict  bool   // t=s: i= must have exactly the domain of d=
	Record  string // the text it was read from

	hashes  []string // h=, nil: any
	service []string // s=, nil: any
}

// ErrNoKey says that nothing is published where a key should be.
var ErrNoKey = errors.New("no key")

// errRevoked is a record with an empty p= (RFC 6376 section 3.6.1).
var errRevoked = errors.New("the key is revoked")

// ParseKey reads a key record (RFC 6376 section 3.6.1, RFC 8463 section 4).
func ParseKey(record string) (*Key, error) {
	if len(record) > maxRecord {
		return nil, fmt.Errorf("key record longer than %d bytes", maxRecord)
	}
	if strings.Contains(record, `\;`) {
		// A backslash is in no valid record, but zone files are pasted with them.
		return nil, fmt.Errorf(`key record has "\;" where ";" is meant`)
	}
	tags, err := ParseTags(record)
	if err != nil {
		return nil, fmt.Errorf("key record: %w", err)
	}
	if v, ok := tags.Get("v"); ok && (v != "DKIM1" || tags[0].name != "v") {
		return nil, fmt.Errorf("key record does not start with v=DKIM1")
	}
	if _, ok := tags.Get("p"); !ok {
		return nil, fmt.Errorf("key record has no p=")
	}
	k := &Key{Record: record, hashes: tags.List("h"), service: tags.List("s")}
	if flags := tags.List("t"); flags != nil {
		k.Testing, k.Strict = contains(flags, "y"), contains(flags, "s")
	}
	der, err := tags.Bytes("p")
	if err != nil {
		return nil, fmt.Errorf("key record: %w", err)
	}
	if len(der) == 0 {
		return nil, errRevoked
	}
	kind, ok := tags.Get("k")
	if !ok {
		kind = "rsa"
	}
	return k, k.decode(strings.ToLower(kind), der)
}

func (k *Key) decode(kind string, der []byte) error {
	switch kind {
	case "rsa":
		public, err := parseRSA(der)
		if err != nil {
			return err
		}
		k.Public, k.Bits = public, public.N.BitLen()
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return fmt.Errorf("ed25519 key has %d bytes, not %d", len(der), ed25519.PublicKeySize)
		}
		k.Public, k.Bits = ed25519.PublicKey(der), 256
	default:
		return fmt.Errorf("unknown key type k=%q", clip(kind))
	}
	return nil
}

// parseRSA takes a SubjectPublicKeyInfo, which everybody publishes, or the
// bare RSAPublicKey that the text of RFC 6376 asks for.
func parseRSA(der []byte) (*rsa.PublicKey, error) {
	if public, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return public, nil
	}
	any, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("p= holds no rsa key")
	}
	public, ok := any.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("p= holds another kind of key than k=rsa")
	}
	return public, nil
}

// Allows says why the key cannot be used for a signature of mail by an algorithm such as "rsa-sha256", as far as that stands in
// its record. How many bits are enough is for the caller to say.
func (k *Key) Allows(algorithm string) error {
	kind, _, _ := strings.Cut(strings.ToLower(algorithm), "-")
	switch k.Public.(type) {
	case *rsa.PublicKey:
		if kind != "rsa" {
			return fmt.Errorf("the key is rsa, the signature %s", kind)
		}
	case ed25519.PublicKey:
		if kind != "ed25519" {
			return fmt.Errorf("the key is ed25519, the signature %s", kind)
		}
	}
	if !contains(k.hashes, "sha256") {
		return fmt.Errorf("the key does not allow sha256")
	}
	if !contains(k.service, "email") && !contains(k.service, "*") {
		return fmt.Errorf("the key is not for email")
	}
	return nil
}

// Verify checks a signature of a block of bytes, whose SHA-256 is what was signed.
func (k *Key) Verify(block, sig []byte) bool { return k.VerifySum(sha256.Sum256(block), sig) }

// Query is the name under which a key is published (RFC 6376 section 3.6.2).
func Query(selector, domain string) string {
	return strings.ToLower(ASCII(selector) + "._domainkey." + ASCII(domain))
}

// KeyError says why there is no key. Temporary tells whether there may be one later.
type KeyError struct {
	Temporary bool
	Err       error
}

func (e *KeyError) Error() string { return e.Err.Error() }
func (e *KeyError) Unwrap() error { return e.Err }

// FetchKey asks for the key at name, see Query. Of several records there the first that is a key for the algorithm is taken
// (RFC 6376 section 6.1.2 leaves the choice), so that an SPF record from a wildcard does no harm. The error is a *KeyError.
func (o *VerifyOptions) FetchKey(ctx context.Context, name, algorithm string) (*Key, error) {
	f, err := o.fetch(ctx, name, algorithm)
	if err != nil {
		return nil, err
	}
	return f.key, nil
}

// found is a key and where it was: in one of so many records, counted from 1.
type found struct {
	key        *Key
	record, of int
}

func (o *VerifyOptions) fetch(ctx context.Context, name, algorithm string) (found, *KeyError) {
	records, err := o.LookupTXT(ctx, name)
	f := found{of: len(records)}
	if err != nil {
		return f, lookupError(name, err)
	}
	switch {
	case len(records) == 0:
		return f, &KeyError{false, fmt.Errorf("%w at %s", ErrNoKey, name)}
	case len(records) > maxRecords:
		return f, &KeyError{false, fmt.Errorf("more than %d records at %s", maxRecords, name)}
	}
	return f, f.choose(o.Keys, name, records, algorithm)
}

// lookupError says of an error of LookupTXT what may be said to those who read the message.
func lookupError(name string, err error) *KeyError {
	var dns *net.DNSError
	switch {
	case !errors.As(err, &dns):
		return &KeyError{true, fmt.Errorf("fetching the key at %s: %w", name, err)}
	case dns.IsNotFound:
		return &KeyError{false, fmt.Errorf("%w at %s", ErrNoKey, name)}
	}
	// Only what happened: which server was asked is nobody's business.
	return &KeyError{true, fmt.Errorf("fetching the key at %s: %s", name, dns.Err)}
}

// choose takes the first key of the kind that the algorithm wants, or else the first key.
func (f *found) choose(cache *KeyCache, name string, records []string, algorithm string) *KeyError {
	kind, _, _ := strings.Cut(strings.ToLower(algorithm), "-")
	var wrong error // with the record that was most likely meant as the key
	likely := false
	for i, record := range records {
		k, err := cache.parse(record)
		switch {
		case err != nil:
			if meant := strings.Contains(record, "p="); wrong == nil || meant && !likely || err == errRevoked {
				wrong, likely = err, meant
			}
		case f.key == nil || f.key.kind() != kind && k.kind() == kind:
			f.key, f.record = k, i+1
		}
	}
	if f.key == nil {
		return &KeyError{false, fmt.Errorf("%s: %w", name, wrong)}
	}
	return nil
}

func (k *Key) kind() string {
	if _, ok := k.Public.(ed25519.PublicKey); ok {
		return "ed25519"
	}
	return "rsa"
}

// Record is the TXT record that publishes a public key: RSA as a
// SubjectPublicKeyInfo, Ed25519 as its 32 bytes.
func Record(public crypto.PublicKey) (string, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(p)
		if err != nil {
			return "", fmt.Errorf("encoding the public key: %w", err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(p), nil
	}
	return "", fmt.Errorf("cannot publish a key of type %T", public)
}
