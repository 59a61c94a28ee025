package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// tlsOptions are the flags about TLS.
type tlsOptions struct {
	caFile, pins, sni, min string
	cert, key, session     string
	noVerify               bool
}

func (t *tlsOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&t.caFile, "cacert", "", "trust the certificates in `FILE` instead of the system's")
	f.BoolVar(&t.noVerify, "no-verify", false, "demand TLS but take any certificate")
	f.StringVar(&t.pins, "pin", "", "take the certificates whose public key has one of these `SHA256,...` sums and no others")
	f.StringVar(&t.sni, "sni", "", "ask for the certificate of `NAME`, and verify it for that, instead of the URL's host")
	f.StringVar(&t.min, "tls-min", "1.2", "demand TLS of this `VERSION` at least, 1.2 or 1.3")
	f.StringVar(&t.cert, "cert", "", "our certificate for servers that ask for one, from `FILE`")
	f.StringVar(&t.key, "key", "", "its key, from `FILE` (default the file of --cert)")
	f.StringVar(&t.session, "tls-session", "", "keep the TLS session in `FILE` for the next time")
}

// demanding says that a flag makes sense only where TLS is demanded: anyone between could take the demand away.
func (t *tlsOptions) demanding() bool {
	return t.caFile != "" || t.noVerify || t.pins != "" || t.sni != "" || t.min != "1.2"
}

func (t *tlsOptions) check() error {
	switch {
	case t.key != "" && t.cert == "":
		return cli.Usagef("--key needs --cert")
	case t.min != "1.2" && t.min != "1.3":
		return cli.Usagef("--tls-min %q: want 1.2 or 1.3", t.min)
	case t.pins != "" && (t.noVerify || t.caFile != ""):
		return cli.Usagef("--pin does not go with --no-verify and --cacert: it is all that is verified")
	}
	return nil
}

// config is for a server that the URL calls host.
func (t *tlsOptions) config(host string) (*tls.Config, error) {
	c := &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.noVerify,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if t.sni != "" {
		c.ServerName = t.sni
	}
	if t.min == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if t.session != "" {
		c.ClientSessionCache = &sessionFile{name: t.session}
	}
	if t.cert != "" {
		key := t.key
		if key == "" {
			key = t.cert
		}
		pair, err := tls.LoadX509KeyPair(t.cert, key)
		if err != nil {
			return nil, status.Errorf(status.Config, "read our certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, t.trust(c)
}

// trust says which certificates of the server are good.
func (t *tlsOptions) trust(c *tls.Config) (err error) {
	if t.caFile != "" {
		c.RootCAs, err = readRoots(t.caFile)
	}
	if t.pins == "" || err != nil {
		return err
	}
	var pins [][]byte
	for text := range strings.SplitSeq(t.pins, ",") {
		sum, err := parsePin(text)
		if err != nil {
			return err
		}
		pins = append(pins, sum)
	}
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error { return checkPin(s, pins) }
	return nil
}

// parsePin reads a SHA-256 sum in hexadecimal, with colons or without, or in base64.
func parsePin(text string) ([]byte, error) {
	sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		sum, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil || len(sum) != sha256.Size {
		return nil, cli.Usagef("--pin %q: want the 32 bytes of a SHA-256 sum, in hexadecimal or base64", text)
	}
	return sum, nil
}

// checkPin compares the public key (SubjectPublicKeyInfo) of the server's own certificate.
func checkPin(s tls.ConnectionState, pins [][]byte) error {
	sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if slices.ContainsFunc(pins, func(p []byte) bool { return string(p) == string(sum[:]) }) {
		return nil
	}
	return fmt.Errorf("the public key has the SHA-256 sum %x, which is not pinned", sum)
}

// apply makes of the flags what a connection needs.
func (t *tlsOptions) apply(o *smtp.Options, host string) error {
	c, err := t.config(host)
	o.TLSConfig, o.Verifies = c, t.pins != ""
	return err
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, status.Errorf(status.Config, "%w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, status.Errorf(status.Config, "%s: no certificate in it", file)
	}
	return roots, nil
}
