package sasl

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// cramServer is CRAM-MD5 of RFC 2195: the server sends a challenge that was never used before, the client answers with its
// name and the HMAC of the challenge under the secret.
type cramServer struct {
	accounts  Accounts
	challenge string
	over      bool
}

func (s *cramServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case s.over:
		return nil, false, ErrMalformed
	case s.challenge == "" && response == nil:
		host := s.accounts.Host
		if host == "" {
			host = "localhost"
		}
		s.challenge = "<" + rand.Text() + "@" + host + ">"
		return []byte(s.challenge), false, nil
	}
	s.over = true
	if s.challenge == "" || len(response) > 2*maxSecret || !utf8.Valid(response) {
		return nil, false, ErrMalformed // an initial response is none of CRAM-MD5's
	}
	at := strings.LastIndexByte(string(response), ' ')
	if at < 0 || bad(string(response[:at])) {
		return nil, false, ErrMalformed
	}
	user := string(response[:at])
	secret, err := s.accounts.Cleartext(user)
	if err != nil {
		return nil, false, err
	}
	want := cramAnswer(secret, []byte(s.challenge))
	if secret == "" || subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(string(response[at+1:])))) != 1 {
		return nil, false, ErrRefused
	}
	if err := s.accounts.Accept(user); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

type cramClient struct {
	user, password string
	over           bool
}

func (c *cramClient) Start() ([]byte, error) { return nil, nil }

func (c *cramClient) Next(challenge []byte) ([]byte, error) {
	if c.over || len(challenge) == 0 || bad(c.user) || bad(c.password) {
		return nil, ErrMalformed
	}
	c.over = true
	return []byte(c.user + " " + cramAnswer(c.password, challenge)), nil
}

// cramAnswer is the HMAC-MD5 (RFC 2104) in lower-case hexadecimal digits.
func cramAnswer(secret string, challenge []byte) string {
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write(challenge)
	return hex.EncodeToString(mac.Sum(nil))
}
