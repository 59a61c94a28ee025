package sasl

import (
	"crypto/tls"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
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
		could := c.binding() != nil && !slices.Contains(c.Offered, "SCRAM-SHA-256-PLUS")
		return &scramClient{user: c.User, password: c.Secret, could: could}, true
	case "SCRAM-SHA-256-PLUS":
		if b := c.binding(); b != nil {
			return &scramClient{user: c.User, password: c.Secret, binding: b}, true
		}
	}
	return nil, false
}

// binding is what the two sides of the TLS connection share: tls-exporter (RFC 9266), or where the version has none,
// tls-server-end-point. Tls-unique is not used: before extended master secrets it is not unique.
func (c Credentials) binding() *scram.ChannelBinding {
	if c.TLS == nil {
		return nil
	}
	if b, err := scram.NewTLSExporterBinding(c.TLS); err == nil {
		return &b
	}
	if b, err := scram.NewTLSServerEndpointBinding(c.TLS); err == nil {
		return &b
	}
	return nil
}
