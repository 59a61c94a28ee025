package postoffice

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"time"

	"pennypost/internal/status"
)

const (
	certFile = "tls/cert.pem"
	keyFile  = "tls/key.pem"
	maxPEM   = 1 << 20
)

// Certificate is the pair in OFFICE/tls, cert.pem and key.pem. What is missing is made for the host name: a
// P-256 key, mode 0600, and from it a certificate signed by itself, good for ten years. Several programs
// may do so at a time and get one pair: the key comes first and only once, and any certificate is made
// from that key.
func (o *Office) Certificate(name string) (tls.Certificate, error) {
	pair, err := o.certificate(name)
	if err != nil {
		return tls.Certificate{}, status.Errorf(status.Config, "certificate of the office: %w", err)
	}
	return pair, nil
}

func (o *Office) certificate(name string) (tls.Certificate, error) {
	if name == "" {
		name = "localhost"
	}
	cert, err := o.readPEM(certFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, err
	}
	if err == nil {
		key, err := o.readPEM(keyFile)
		if err != nil {
			return tls.Certificate{}, err
		}
		return tls.X509KeyPair(cert, key)
	}
	key, err := o.makeKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := o.makeCertificate(name, key); err != nil {
		return tls.Certificate{}, err
	}
	if cert, err = o.readPEM(certFile); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// makeKey makes tls/key.pem unless it is there, and returns what is there then.
func (o *Office) makeKey() ([]byte, error) {
	if err := o.root.Mkdir("tls", 0o700); err == nil {
		inheritOwner(o.root, "tls", ".")
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	key, err := o.readPEM(keyFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	if err := o.createOnce(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, err
	}
	return o.readPEM(keyFile)
}

// makeCertificate makes tls/cert.pem from the key unless it is there.
func (o *Office) makeCertificate(name string, keyPEM []byte) error {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return fmt.Errorf("%s holds no PEM block", keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fmt.Errorf("%s: a key of kind %T cannot sign", keyFile, key)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},

		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), key)
	if err != nil {
		return err
	}
	return o.createOnce(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (o *Office) readPEM(name string) ([]byte, error) {
	f, err := o.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxPEM)
	}
	return b, err
}
