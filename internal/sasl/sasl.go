// Package sasl speaks the mechanisms by which a user logs in (RFC 4422), on both sides, over whatever protocol carries
// them: SMTP, POP3 and IMAP frame the same steps.
//
// It hides the form of each mechanism's messages; base64 and the protocol's own words stay with the caller. It guarantees
// that a secret is given to the caller's check only when the exchange is complete and well formed, and that no input,
// however long or odd, does more than fail. PLAIN is RFC 4616; LOGIN is the common form of draft-murchison-sasl-login.
package sasl

import (
	"errors"
	"strings"
)

// maxSecret bounds each of identity, user and password, in bytes (RFC 4616 section 2 asks for 255 at least).
const maxSecret = 1024

// ErrMalformed is returned for messages that are not of the mechanism.
var ErrMalformed = errors.New("malformed authentication message")

// ErrIdentity is returned when a user asks to act as another.
var ErrIdentity = errors.New("acting as another user is not allowed")

// Server is one exchange on the server's side. Next is called with each message of the client, first with its initial
// response, or with nil when it sent none (an empty response is not nil), and returns the challenge to send. When done is
// true the user is logged in and no challenge follows. After an error the exchange is over.
type Server interface {
	Next(response []byte) (challenge []byte, done bool, err error)
}

// Client is one exchange on the client's side. Start returns the initial response, nil when the mechanism has none; Next
// answers a challenge.
type Client interface {
	Start() (initial []byte, err error)
	Next(challenge []byte) (response []byte, err error)
}

// Check says whether a password is the user's: nil when it is. Its error is handed on as it is.
type Check func(user, password string) error

// Mechanisms are the names NewServer and NewClient know, best first.
func Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

// NewServer begins an exchange with the mechanism, in any case of letters; ok is false when there is none of that name.
func NewServer(mechanism string, check Check) (s Server, ok bool) {
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		return &plainServer{check: check}, true
	case "LOGIN":
		return &loginServer{check: check}, true
	}
	return nil, false
}

// NewClient begins an exchange as user; ok is false when there is no mechanism of that name.
func NewClient(mechanism, user, password string) (c Client, ok bool) {
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		return &plainClient{user: user, password: password}, true
	case "LOGIN":
		return &loginClient{answers: []string{user, password}}, true
	}
	return nil, false
}

// bad says whether s cannot be a name or a secret: empty, too long or with a NUL in it.
func bad(s string) bool {
	return s == "" || len(s) > maxSecret || strings.IndexByte(s, 0) >= 0
}
