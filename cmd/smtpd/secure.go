package main

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"

	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// newTLS is the configuration for STARTTLS. Certificates are read for each handshake: a renewed one is used without a
// restart, and a session without TLS costs nothing.
func newTLS(o options, off *postoffice.Office) (*tls.Config, error) {
	load := certificate(o, off)
	if o.cert != "" {
		if _, err := load(); err != nil {
			return nil, status.Errorf(status.Config, "read certificate %q and key %q: %w", o.cert, o.key, err)
		}
	}
	ask := tls.NoClientCert
	if o.clientCA != "" {
		ask = tls.RequestClientCert // it is looked at when somebody wants to log in by it; a stranger's does no harm
	}
	return &tls.Config{
		ClientAuth: ask,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"smtp"}, // who asks for another protocol is at the wrong port
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := load()
			if err != nil {
				return nil, fmt.Errorf("certificate: %w", err)
			}
			return &pair, nil
		},
	}, nil
}

// certificate is how the pair for TLS is read.
func certificate(o options, off *postoffice.Office) func() (tls.Certificate, error) {
	if o.cert != "" {
		return func() (tls.Certificate, error) { return tls.LoadX509KeyPair(o.cert, o.key) }
	}
	return func() (tls.Certificate, error) { return off.Certificate(o.name) }
}

// validName takes a domain name or an address literal.
func validName(s string) bool {
	if literal, ok := strings.CutPrefix(s, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimPrefix(strings.TrimSuffix(literal, "]"), "IPv6:"))
		return err == nil && strings.HasSuffix(literal, "]") && ip.IsValid()
	}
	if s == "" || len(s) > 255 {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_') {
			return false
		}
	}
	return true
}
