package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// key is a public key as published in the DNS.
type key struct {
	public  crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	bits    int
	testing bool // t=y
	strict  bool // t=s: i= must have exactly the domain of d=
	hashes  []string
	service []string
	record  string
}

// errRevoked is a record with an empty p= (RFC 6376 section 3.6.1).
var errRevoked = errors.New("the key is revoked")

// parseKey reads a key record (RFC 6376 section 3.6.1, RFC 8463 section 4).
func parseKey(record string) (*key, error) {
	if len(record) > maxRecord {
		return nil, fmt.Errorf("key record longer than %d bytes", maxRecord)
	}
	if strings.Contains(record, `\;`) {
		// A backslash is in no valid record, but zone files are pasted with them.
		return nil, fmt.Errorf(`key record has "\;" where ";" is meant`)
	}
	tags, err := parseTags(record)
	if err != nil {
		return nil, fmt.Errorf("key record: %w", err)
	}
	if v, ok := tags.get("v"); ok && (v != "DKIM1" || tags[0].name != "v") {
		return nil, fmt.Errorf("key record does not start with v=DKIM1")
	}
	if _, ok := tags.get("p"); !ok {
		return nil, fmt.Errorf("key record has no p=")
	}
	k := &key{record: record, hashes: tags.list("h"), service: tags.list("s")}
	if flags := tags.list("t"); flags != nil {
		k.testing, k.strict = contains(flags, "y"), contains(flags, "s")
	}
	der, err := tags.bytes("p")
	if err != nil {
		return nil, fmt.Errorf("key record: %w", err)
	}
	if len(der) == 0 {
		return nil, errRevoked
	}
	kind, ok := tags.get("k")
	if !ok {
		kind = "rsa"
	}
	return k, k.decode(strings.ToLower(kind), der)
}

func (k *key) decode(kind string, der []byte) error {
	switch kind {
	case "rsa":
		public, err := parseRSA(der)
		if err != nil {
			return err
		}
		k.public, k.bits = public, public.N.BitLen()
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return fmt.Errorf("ed25519 key has %d bytes, not %d", len(der), ed25519.PublicKeySize)
		}
		k.public, k.bits = ed25519.PublicKey(der), 256
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

// suits checks the key's own restrictions against a signature.
func (k *key) suits(s *signature) error {
	kind, _, _ := strings.Cut(strings.ToLower(s.algorithm), "-")
	switch k.public.(type) {
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
	domain := s.identifier[strings.LastIndexByte(s.identifier, '@')+1:]
	if k.strict && !strings.EqualFold(ascii(domain), ascii(s.domain)) {
		return fmt.Errorf("the key wants i= to have the domain of d=")
	}
	return nil
}

// Query is the name under which a key is published (RFC 6376 section 3.6.2).
func Query(selector, domain string) string {
	return strings.ToLower(ascii(selector) + "._domainkey." + ascii(domain))
}

// lookupError says that the key could not be fetched; temporary tells whether
// it may be there later.
type lookupError struct {
	temporary bool
	err       error
}

func (e *lookupError) Error() string { return e.err.Error() }
func (e *lookupError) Unwrap() error { return e.err }

type lookup func(ctx context.Context, name string) ([]string, error)

// fetch asks for a key. Of several records at one name the first that is a
// key of the wanted kind is taken (RFC 6376 section 6.1.2 leaves the choice),
// so that an SPF record from a wildcard does no harm.
func (l lookup) fetch(ctx context.Context, name, algorithm string) (*key, error) {
	records, err := l(ctx, name)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, &lookupError{false, fmt.Errorf("no key at %s", name)}
	case errors.As(err, &dns):
		// Only what happened: which server was asked is nobody's business who reads the message.
		return nil, &lookupError{true, fmt.Errorf("fetching the key at %s: %s", name, dns.Err)}
	case err != nil:
		return nil, &lookupError{true, fmt.Errorf("fetching the key at %s: %w", name, err)}
	case len(records) == 0:
		return nil, &lookupError{false, fmt.Errorf("no key at %s", name)}
	case len(records) > maxRecords:
		return nil, &lookupError{false, fmt.Errorf("more than %d records at %s", maxRecords, name)}
	}
	kind, _, _ := strings.Cut(strings.ToLower(algorithm), "-")
	var best *key
	var first error
	for _, record := range records {
		k, err := parseKey(record)
		switch {
		case err != nil && (first == nil || err == errRevoked):
			first = err
		case err == nil && (best == nil || best.kind() != kind):
			best = k
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, &lookupError{false, fmt.Errorf("%s: %w", name, first)}
}

func (k *key) kind() string {
	if _, ok := k.public.(ed25519.PublicKey); ok {
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
