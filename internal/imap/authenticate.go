package imap

import (
	"encoding/base64"
	"errors"
	"strings"
)

// authenticate is AUTHENTICATE (RFC 3501 section 6.2.2) with an initial response (RFC 4959) or without.
func (s *session) authenticate(c *command) error {
	if err := s.dec.SP(); err != nil {
		return err
	}
	mechanism, err := s.dec.Atom()
	if err != nil {
		return err
	}
	var response []byte
	if s.dec.Accept(' ') {
		if response, err = decodeResponse(string(s.dec.Line()), true); err != nil {
			return err
		}
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	if !s.mayLogin() {
		return errLoginDisabled
	}
	if s.cfg.SASL == nil {
		return no("", "no mechanism is offered")
	}
	var failed error // what the office said, apart from what the mechanism says of it
	x, ok := s.cfg.SASL(strings.ToUpper(mechanism), func(user, password string) error {
		failed = s.check(user, password)
		return failed
	})
	if !ok {
		return no("", "there is no mechanism of that name")
	}
	err = s.exchange(x, response)
	if failed != nil {
		err = failed
	}
	var r *refusal
	if errors.As(err, &r) {
		return err
	}
	return s.admit(c, err)
}

// maxSteps bounds the messages of one exchange.
const maxSteps = 10

func (s *session) exchange(x Exchange, response []byte) error {
	for range maxSteps {
		challenge, done, err := x.Next(response)
		if done || err != nil {
			return err
		}
		if err := s.prompt(base64.StdEncoding.EncodeToString(challenge)); err != nil {
			return err
		}
		if err := s.dec.More(); err != nil {
			return err
		}
		line := string(s.dec.Line())
		if line == "*" {
			return bad("the login was cancelled")
		}
		if response, err = decodeResponse(line, false); err != nil {
			return err
		}
	}
	return bad("the exchange is too long")
}

// decodeResponse reads base64; an initial response that is empty is written "=".
func decodeResponse(s string, initial bool) ([]byte, error) {
	if initial && s == "=" {
		return []byte{}, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, bad("that is not base64")
	}
	return b, nil
}
