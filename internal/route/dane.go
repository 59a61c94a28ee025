package route

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pennypost/internal/resolver"
)

// Certificate usages, selectors and matching types of RFC 7218.
const (
	usageTA, usageEE              = 2, 3
	selectorCert, selectorKey     = 0, 1
	matchFull, match256, match512 = 0, 1, 2
)

// DANE is what a host is to be verified by.
type DANE struct {
	// Records are usable ones, at least one.
	Records []resolver.TLSA
	// Names are those one of which a certificate below a DANE-TA record must be
	// for; the first, the TLSA base domain, is what to ask for by SNI (RFC 7672
	// sections 3.2.2 and 8.1).
	Names []string
}

// tlsaName is where the TLSA records of a port stand, RFC 6698 section 3.
func tlsaName(port int, base string) string { return "_" + strconv.Itoa(port) + "._tcp." + base }

// usableTLSA picks the records that a mail client can verify by: DANE-TA and
// DANE-EE (RFC 7672 section 3.1) of known parameters, and of several digests for
// the same usage and selector the strongest (RFC 7671 section 9).
func usableTLSA(records []resolver.TLSA) []resolver.TLSA {
	strongest := map[[2]uint8]uint8{}
	for _, r := range records {
		if k := [2]uint8{r.Usage, r.Selector}; wellFormed(r) {
			strongest[k] = max(strongest[k], r.MatchingType)
		}
	}
	var out []resolver.TLSA
	for _, r := range records {
		best := strongest[[2]uint8{r.Usage, r.Selector}]
		if wellFormed(r) && (r.MatchingType == matchFull || r.MatchingType == best) {
			out = append(out, r)
		}
	}
	return out
}

func wellFormed(r resolver.TLSA) bool {
	if r.Usage != usageTA && r.Usage != usageEE || r.Selector > selectorKey {
		return false
	}
	switch r.MatchingType {
	case matchFull:
		return len(r.Data) > 0
	case match256:
		return len(r.Data) == sha256.Size
	case match512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Verify checks a finished handshake. A DANE-EE record that fits the server's
// certificate is enough, whatever name or date is in it (RFC 7672 section 3.1.1);
// with DANE-TA the chain must lead to the record's authority and the certificate
// be valid and for one of the names (sections 3.1.2 and 3.2.2).
func (d *DANE) Verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("DANE: the server has shown no certificate")
	}
	leaf, rest := cs.PeerCertificates[0], cs.PeerCertificates[1:]
	anchors, found := x509.NewCertPool(), false
	for _, r := range d.Records {
		if r.Usage == usageEE && matches(r, leaf) {
			return nil
		}
		if r.Usage == usageTA {
			found = addAnchors(anchors, r, cs.PeerCertificates) || found
		}
	}
	if !found {
		return fmt.Errorf("DANE: none of %d TLSA record(s) fits the certificate", len(d.Records))
	}
	o := x509.VerifyOptions{Roots: anchors, Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
	for _, c := range rest {
		o.Intermediates.AddCert(c)
	}
	var failed error
	for _, name := range d.Names {
		o.DNSName = name
		_, err := leaf.Verify(o)
		if err == nil {
			return nil
		}
		if failed == nil {
			failed = err
		}
	}
	return fmt.Errorf("DANE: %w", failed)
}

// addAnchors adds the certificates that a DANE-TA record stands for: those that
// the server has sent, and the one that is in the record as a whole.
func addAnchors(pool *x509.CertPool, r resolver.TLSA, chain []*x509.Certificate) bool {
	found := false
	for _, c := range chain {
		if matches(r, c) {
			pool.AddCert(c)
			found = true
		}
	}
	if !found && r.Selector == selectorCert && r.MatchingType == matchFull {
		if c, err := x509.ParseCertificate(r.Data); err == nil {
			pool.AddCert(c)
			found = true
		}
	}
	return found
}

func matches(r resolver.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == selectorKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.MatchingType {
	case match256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case match512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(r.Data, data)
}
