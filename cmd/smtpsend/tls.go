package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
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
	caFile, pins, sni  string
	min, max, saveCert string
	ciphers            []string
	strict             bool
	cert, key, session string
	noVerify           bool
}

func (t *tlsOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&t.caFile, "cacert", "", "trust the certificates in `FILE` instead of the system's")
	f.BoolVar(&t.noVerify, "no-verify", false, "demand TLS but take any certificate")
	f.StringVar(&t.pins, "pin", "", "take the certificates whose public key has one of these `SHA256,...` sums and no others")
	f.StringVar(&t.sni, "sni", "", "ask for the certificate of `NAME`, and verify it for that, instead of the URL's host")
	f.StringVar(&t.min, "tls-min", "1.2", "demand TLS of this `VERSION` at least, 1.0 to 1.3")
	f.StringVar(&t.max, "tls-max", "1.3", "speak TLS of this `VERSION` at most, 1.0 to 1.3")
	f.StringSliceVar(&t.ciphers, "tls-cipher", nil, "offer these cipher suites of TLS 1.2 and below and no others, `NAME,...`; with --tls-max")
	f.BoolVar(&t.strict, "tls-strict", false, "with smtp://, do not go on in clear when a handshake fails")
	f.StringVar(&t.saveCert, "save-cert", "", "write the certificates that the server showed to `FILE`")
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
	case tlsVersions[t.min] == 0 || tlsVersions[t.max] == 0 || tlsVersions[t.min] > tlsVersions[t.max] && t.min != "1.2":
		return cli.Usagef("--tls-min %q, --tls-max %q: want 1.0, 1.1, 1.2 or 1.3, the first not above the second", t.min, t.max)
	case len(t.ciphers) > 0 && tlsVersions[t.max] > tls.VersionTLS12:
		return cli.Usagef("--tls-cipher needs --tls-max 1.2 or below: TLS 1.3 has its own")
	case t.pins != "" && (t.noVerify || t.caFile != ""):
		return cli.Usagef("--pin does not go with --no-verify and --cacert: it is all that is verified")
	}
	_, err := t.suites()
	return err
}

// suites are the numbers of --tls-cipher, nil without it.
func (t *tlsOptions) suites() (numbers []uint16, err error) {
	all := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
	for _, name := range t.ciphers {
		i := slices.IndexFunc(all, func(s *tls.CipherSuite) bool { return strings.EqualFold(s.Name, name) })
		if i < 0 {
			return nil, cli.Usagef("--tls-cipher %q: no such suite; want names as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", name)
		}
		numbers = append(numbers, all[i].ID)
	}
	return numbers, nil
}

var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// save writes the chain that the server showed; the file is that of the last connection.
func (t *tlsOptions) save(s tls.ConnectionState) {
	var text []byte
	for _, c := range s.PeerCertificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.WriteFile(t.saveCert, text, 0o644); err != nil {
		fmt.Fprintf(os.Stderr, "smtpsend: save the certificates: %v\n", err)
	}
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
	c.MinVersion, c.MaxVersion = min(tlsVersions[t.min], tlsVersions[t.max]), tlsVersions[t.max]
	var err error
	if c.CipherSuites, err = t.suites(); err != nil {
		return nil, err
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
	o.TLSConfig, o.Verifies, o.Strict = c, t.pins != "", t.strict
	if t.saveCert != "" {
		o.Shook = t.save
	}
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
