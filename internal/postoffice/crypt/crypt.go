// Package crypt makes and checks the hashes of passwords of crypt(5) in a post office: what programs that let nobody in do not
// have to carry with them.
package crypt

import (
	"fmt"
	"strings"
	"sync"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// rounds of sha512crypt: some 30 ms a login.
const rounds = 50_000

// Hashes is a postoffice.Hashes.
type Hashes struct{}

// Matcher knows bcrypt, sha256crypt and sha512crypt, yescrypt and argon2.
func (Hashes) Matcher(hash string) (match func(password string) bool, ok bool) {
	digest, err := decoder().Decode(hash)
	if err != nil {
		return nil, false
	}
	return func(password string) bool {
		same, err := digest.MatchBytesAdvanced([]byte(password))
		return err == nil && same
	}, true
}

// Make is a hash of the kind sha512crypt.
func (Hashes) Make(password string) (string, error) {
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithIterations(rounds))
	if err != nil {
		return "", err
	}
	digest, err := h.Hash(password)
	if err != nil {
		return "", err
	}
	return digest.Encode(), nil
}

// decoder knows the kinds of hash of crypt(5) that are accepted: bcrypt, sha256crypt and sha512crypt, yescrypt, argon2.
var decoder = sync.OnceValue(func() *crypt.Decoder {
	d := crypt.NewDecoder()
	for _, register := range []func(algorithm.DecoderRegister) error{
		bcrypt.RegisterDecoder, shacrypt.RegisterDecoder, scrypt.RegisterDecoderYescrypt, argon2.RegisterDecoder,
	} {
		// They fail only when one name is registered twice, which the tests would show.
		_ = register(d)
	}
	return d
})

// Dummy is a hash like those of Make that belongs to nobody.
func (Hashes) Dummy() string {
	return fmt.Sprintf("$6$rounds=%d$9Zq0eGJm3nXwB1tK$%s", rounds, strings.Repeat(".", 86))
}
