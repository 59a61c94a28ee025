// Package sasl speaks the mechanisms by which a user logs in (RFC 4422), on both sides, over whatever protocol carries
// them: SMTP, POP3 and IMAP frame the same steps.
//
// It hides the form of each mechanism's messages; base64 and the protocol's own words stay with the caller. It guarantees
// that a secret is given to the caller's check only when the exchange is complete and well formed, and that no input,
// however long or odd, does more than fail. PLAIN is RFC 4616; LOGIN is the common form of draft-murchison-sasl-login;
// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS are RFC 5802 and RFC 7677, CRAM-MD5 is RFC 2195, OAUTHBEARER RFC 7628, EXTERNAL RFC 4422
// appendix A. A server offers what its Accounts allow.
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

// ErrRefused is returned when a proof is not that of the user's secret, or the server's not one of ours.
var ErrRefused = errors.New("the proof is wrong")

// ErrBinding is returned when the two sides do not agree on the channel that they speak over, or on whether to bind to it.
var ErrBinding = errors.New("the channel binding is not right")

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

// Mechanisms are the names NewServer knows, those that need no more than a check of the password, best first.
func Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

// NewServer begins an exchange with one of Mechanisms, in any case of letters; ok is false when there is none of that name.
func NewServer(mechanism string, check Check) (s Server, ok bool) {
	return Accounts{Password: check}.Start(mechanism)
}

// bad says whether s cannot be a name or a secret: empty, too long or with a NUL in it.
func bad(s string) bool {
	return s == "" || len(s) > maxSecret || strings.IndexByte(s, 0) >= 0
}
