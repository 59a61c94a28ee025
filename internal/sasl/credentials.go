package sasl

import (
	"crypto"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"pennypost/internal/scram"
)

// Credentials are what a client logs in with, and what it knows of the connection.
type Credentials struct {
	User   string
	Secret string // the password; for OAUTHBEARER and XOAUTH2 the token. Not used by EXTERNAL
	// TLS is the connection that SCRAM-SHA-256-PLUS binds to; nil in clear.
	TLS *tls.ConnectionState
	// Offered are the server's mechanisms. When it offers no -PLUS though we could, SCRAM-SHA-256 tells it so, and a server that
	// did offer it finds out that somebody on the way has taken it from its list (RFC 5802 section 6).
	Offered []string
}

// ClientMechanisms are the names of those that take a password, best first: with the first two it is never sent and the server
// has to show that it knows it; CRAM-MD5 stands last because a server that offers it keeps all passwords in clear.
func ClientMechanisms() []string {
	return []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"}
}

// Tokens says that the secret of a mechanism is a token somebody else has made, not a password.
func Tokens(mechanism string) bool { return mechanism == "OAUTHBEARER" || mechanism == "XOAUTH2" }

// SendsSecret says that whoever reads or answers the connection learns the secret by this mechanism.
func SendsSecret(mechanism string) bool {
	return mechanism == "PLAIN" || mechanism == "LOGIN" || Tokens(mechanism)
}

// NewClient begins an exchange as user; ok is false when there is no mechanism of that name.
func NewClient(mechanism, user, password string) (c Client, ok bool) {
	return Credentials{User: user, Secret: password}.Client(mechanism)
}

// Client begins an exchange. ok is false when there is no mechanism of that name, or not on this connection: the -PLUS needs
// TLS. A client with a method Proved() bool has been told the truth about success only when that is true at the end.
func (c Credentials) Client(mechanism string) (x Client, ok bool) {
	switch mechanism = strings.ToUpper(mechanism); mechanism {
	case "PLAIN":
		return &plainClient{user: c.User, password: c.Secret}, true
	case "LOGIN":
		return &loginClient{answers: []string{c.User, c.Secret}}, true
	case "CRAM-MD5":
		return &cramClient{user: c.User, password: c.Secret}, true
	case "OAUTHBEARER", "XOAUTH2":
		return &tokenClient{mechanism: mechanism, user: c.User, token: c.Secret}, true
	case "EXTERNAL":
		return &externalClient{user: c.User}, true
	case "SCRAM-SHA-256":
		flag := "n"
		if kind, _ := c.binding(); kind != "" && !slices.Contains(c.Offered, "SCRAM-SHA-256-PLUS") {
			flag = "y"
		}
		return c.scram(flag, nil), true
	case "SCRAM-SHA-256-PLUS":
		if kind, data := c.binding(); kind != "" {
			return c.scram("p="+kind, data), true
		}
	}
	return nil, false
}

func (c Credentials) scram(flag string, binding []byte) *scramClient {
	return &scramClient{Client: scram.Client{User: c.User, Password: c.Secret, Flag: flag, Binding: binding}}
}

// binding is what the two sides of the TLS connection share, and its type: tls-exporter, or where the version has none,
// tls-server-end-point. "" is for neither. Tls-unique is not used: before extended master secrets it is not unique.
func (c Credentials) binding() (kind string, data []byte) {
	if c.TLS == nil {
		return "", nil
	}
	if data, err := Exporter(c.TLS); err == nil {
		return TLSExporter, data
	}
	if len(c.TLS.PeerCertificates) == 0 {
		return "", nil
	}
	if data, err := EndPoint(c.TLS.PeerCertificates[0]); err == nil {
		return TLSServerEndPoint, data
	}
	return "", nil
}

// Exporter is the binding tls-exporter (RFC 9266). It is an error where the connection has none: before TLS 1.3 without an
// extended master secret.
func Exporter(state *tls.ConnectionState) ([]byte, error) {
	return state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
}

// EndPoint is the binding tls-server-end-point of a server with this certificate (RFC 5929 section 4.1): its hash by the
// function of its own signature, or by SHA-256 where that is older. A signature without such a function is an error.
func EndPoint(cert *x509.Certificate) ([]byte, error) {
	h := crypto.SHA256
	switch cert.SignatureAlgorithm {
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil, fmt.Errorf("no channel binding for a signature by %v", cert.SignatureAlgorithm)
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	}
	sum := h.New()
	sum.Write(cert.Raw)
	return sum.Sum(nil), nil
}
