// Package scram is SCRAM-SHA-256 (RFC 5802, RFC 7677): the keys that are kept instead of a password, and the messages of both
// sides as strings. It does not know who carries the messages, nor where keys are kept.
//
// It guarantees that what the other side says is either of the form that RFC 5802 section 7 gives or an error, and that proofs
// are compared in constant time. It is our own, like SASLprep beside it, because the library for it builds its tables when a
// program starts: a fifth of the whole time of a process that serves one connection. That library is the judge in the tests.
package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
)

// ErrMalformed says that a message is not one of SCRAM.
var ErrMalformed = errors.New("malformed SCRAM message")

// ErrProof says that a proof or a signature is not the right one, or is not of this exchange.
var ErrProof = errors.New("wrong SCRAM proof")

// Keys are what a server keeps of a password: the password cannot be computed from them, nor can somebody who has them log in
// (RFC 5802 section 3).
type Keys struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte // of 32 bytes
}

// Derive computes the keys of a password. One that Prepare refuses is an error.
func Derive(password string, salt []byte, iterations int) (Keys, error) {
	salted, err := saltedPassword(password, salt, iterations)
	if err != nil {
		return Keys{}, err
	}
	return Keys{salt, iterations, storedKey(clientKey(salted)), mac(salted, "Server Key")}, nil
}

// Match tells whether the keys are those of the password.
func (k Keys) Match(password string) bool {
	got, err := Derive(password, k.Salt, k.Iterations)
	return err == nil && subtle.ConstantTimeCompare(got.StoredKey, k.StoredKey) == 1
}

func saltedPassword(password string, salt []byte, iterations int) ([]byte, error) {
	prepared, err := Prepare(password)
	if err != nil {
		return nil, err
	}
	return pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
}

func storedKey(key []byte) []byte {
	sum := sha256.Sum256(key)
	return sum[:]
}

func clientKey(salted []byte) []byte { return mac(salted, "Client Key") }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// xor is a ^ b, both of 32 bytes.
func xor(a, b []byte) []byte {
	out := make([]byte, sha256.Size)
	subtle.XORBytes(out, a, b)
	return out
}

// newNonce is 144 random bits in characters that a nonce may have.
func newNonce() string {
	var b [18]byte
	rand.Read(b[:])
	return base64.RawStdEncoding.EncodeToString(b[:])
}

// printable tells whether s can be a nonce: visible ASCII without commas, and not empty.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

// attributes splits a message into its values, which must have these names in this order; what follows them are extensions,
// which are passed over (RFC 5802 section 5.1).
func attributes(message string, names string) ([]string, error) {
	field := strings.Split(message, ",")
	if len(field) < len(names) {
		return nil, ErrMalformed
	}
	values := make([]string, len(names))
	for i := range values {
		value, ok := strings.CutPrefix(field[i], names[i:i+1]+"=")
		if !ok {
			return nil, ErrMalformed
		}
		values[i] = value
	}
	for _, extension := range field[len(names):] {
		if len(extension) < 3 || extension[1] != '=' || !isLetter(extension[0]) {
			return nil, ErrMalformed
		}
	}
	return values, nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// decode takes base64 without line ends, which the library for it passes over, and not nothing.
func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || strings.ContainsAny(s, "\r\n") {
		return nil, ErrMalformed
	}
	return b, nil
}
