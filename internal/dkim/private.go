package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// ParsePrivateKey reads a signing key in PEM: RSA as PKCS #1 or PKCS #8,
// Ed25519 as PKCS #8. Other blocks before it are passed over.
func ParsePrivateKey(data []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("no private key in PEM form")
		}
		data = rest
		switch block.Type {
		case "RSA PRIVATE KEY":
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("bad PKCS #1 key: %w", err)
			}
			return key, nil
		case "PRIVATE KEY":
			return parsePKCS8(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, fmt.Errorf("the private key is encrypted")
		}
	}
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("bad PKCS #8 key: %w", err)
	}
	switch key := any.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("the private key is neither rsa nor ed25519")
}

// Generate makes a key, "ed25519" or "rsa" of the given size, and returns it
// as PKCS #8 in PEM with the TXT record that publishes it.
func Generate(kind string, bits int) (private []byte, record string, err error) {
	var key crypto.Signer
	switch kind {
	case "rsa":
		if bits < MinBits || bits > MaxBits {
			return nil, "", fmt.Errorf("rsa key of %d bits: the size must be from %d to %d", bits, MinBits, MaxBits)
		}
		key, err = rsa.GenerateKey(rand.Reader, bits)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, "", fmt.Errorf("unknown key type %q: rsa or ed25519", kind)
	}
	if err != nil {
		return nil, "", fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the private key: %w", err)
	}
	record, err = Record(key.Public())
	if err != nil {
		return nil, "", err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), record, nil
}
