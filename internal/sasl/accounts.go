package sasl

import (
	"strings"

	"pennypost/internal/scram"
)

// Accounts is what a server knows of its users. A field that is nil takes away the mechanisms that need it. The functions
// are called with names as the client gave them, which hold no NUL, are not empty and have at most 1024 bytes. Their errors
// are handed on as they are; whatever they return for a user who does not exist must look like that of a wrong secret.
type Accounts struct {
	// Password is for PLAIN and LOGIN. The user is logged in when it returns nil.
	Password Check
	// Keys is for SCRAM-SHA-256. For a user who does not exist it returns made-up keys, the same each time (RFC 5802 section
	// 9 wants no difference to be seen). An error is trouble of the server.
	Keys func(user string) (scram.Keys, error)
	// Binding is for SCRAM-SHA-256-PLUS: the data of the TLS connection for a type of binding, TLSExporter or
	// TLSServerEndPoint. An error means that there is none of that type.
	Binding func(kind string) ([]byte, error)
	// Cleartext is for CRAM-MD5: the secret itself.
	Cleartext func(user string) (string, error)
	// Accept is called when a user has proved to know the secret by SCRAM or CRAM-MD5; nil from it logs the user in.
	Accept func(user string) error
	// Token is for OAUTHBEARER and XOAUTH2. The user may be empty with the first: the token alone says who it is then. The
	// user is logged in when it returns nil.
	Token func(mechanism, user, token string) error
	// External is for EXTERNAL: it logs in whoever the layer below has identified, as user, or as whom it finds right when
	// user is empty.
	External func(user string) error
	// Host stands in the challenges of CRAM-MD5.
	Host string
}

// Mechanisms are the names of what the accounts allow, best first.
func (a Accounts) Mechanisms() []string {
	var list []string
	add := func(ok bool, names ...string) {
		if ok {
			list = append(list, names...)
		}
	}
	add(a.External != nil, "EXTERNAL")
	add(a.Keys != nil && a.Binding != nil, "SCRAM-SHA-256-PLUS")
	add(a.Keys != nil, "SCRAM-SHA-256")
	add(a.Password != nil, "PLAIN", "LOGIN")
	add(a.Cleartext != nil, "CRAM-MD5")
	add(a.Token != nil, "OAUTHBEARER", "XOAUTH2")
	return list
}

// Start begins an exchange with the mechanism, in any case of letters; ok is false when it is none of Mechanisms.
func (a Accounts) Start(mechanism string) (s Server, ok bool) {
	mechanism = strings.ToUpper(mechanism)
	for _, name := range a.Mechanisms() {
		if name == mechanism {
			return a.start(name), true
		}
	}
	return nil, false
}

func (a Accounts) start(name string) Server {
	switch name {
	case "PLAIN":
		return &plainServer{check: a.Password}
	case "LOGIN":
		return &loginServer{check: a.Password}
	case "CRAM-MD5":
		return &cramServer{accounts: a}
	case "EXTERNAL":
		return &externalServer{accept: a.External}
	case "OAUTHBEARER", "XOAUTH2":
		return &tokenServer{mechanism: name, check: a.Token}
	}
	return &scramServer{accounts: a, plus: name == "SCRAM-SHA-256-PLUS"}
}
