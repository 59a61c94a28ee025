package sasl

import (
	"errors"
	"strings"
	"unicode/utf8"

	"pennypost/internal/scram"
)

// Types of channel binding.
const (
	TLSExporter       = "tls-exporter"         // RFC 9266
	TLSServerEndPoint = "tls-server-end-point" // RFC 5929 section 4
)

const (
	maxScram = 4 * maxSecret // bytes of a message
	// maxIterations is what a client does for a server that it does not know yet: some half a second of work.
	maxIterations = 2_000_000
)

// scramServer is SCRAM-SHA-256 of RFC 5802 and RFC 7677, and with plus SCRAM-SHA-256-PLUS: the client has to show that it
// sees the same TLS connection as we do.
type scramServer struct {
	accounts Accounts
	plus     bool
	state    scramState
	scram.Server
}

type scramState uint8

const (
	scramBegin  scramState = iota // nothing heard
	scramAsked                    // the server has asked for client-first-message
	scramFirst                    // the first message of this side is sent
	scramProved                   // the final message of this side is sent
	scramOver
)

func (s *scramServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case s.state == scramBegin && response == nil:
		s.state = scramAsked
		return []byte{}, false, nil
	case s.state == scramBegin || s.state == scramAsked:
		return s.step(response, s.ask, scramFirst)
	case s.state == scramFirst:
		return s.step(response, s.check, scramProved)
	case s.state == scramProved && len(response) == 0:
		s.state = scramOver
		if err := s.accounts.Accept(s.First.User); err != nil {
			return nil, false, err
		}
		return nil, true, nil
	}
	s.state = scramOver
	return nil, false, ErrMalformed
}

// step goes to the next state, or to the end when run fails.
func (s *scramServer) step(response []byte, run func(string) (string, error), next scramState) ([]byte, bool, error) {
	s.state = scramOver
	if len(response) > maxScram || !utf8.Valid(response) {
		return nil, false, ErrMalformed
	}
	say, err := run(string(response))
	if err != nil {
		return nil, false, err
	}
	s.state = next
	return []byte(say), false, nil
}

// ask answers client-first-message.
func (s *scramServer) ask(text string) (string, error) {
	first, err := scram.ParseFirst(text)
	if err != nil {
		return "", ErrMalformed
	}
	s.First = first
	kind, bound := strings.CutPrefix(first.Flag, "p=")
	switch {
	case bound != s.plus:
		return "", ErrBinding // of the two names, only that with PLUS stands for binding (RFC 5802 section 6)
	case first.Flag == "y" && s.accounts.Binding != nil:
		return "", ErrBinding // somebody on the way took our -PLUS away (RFC 5802 section 6)
	case bad(first.User):
		return "", ErrMalformed
	case first.Identity != "" && first.Identity != first.User:
		return "", ErrIdentity
	}
	if s.plus {
		if s.Binding, err = s.accounts.Binding(kind); err != nil || len(s.Binding) == 0 {
			return "", ErrBinding
		}
	}
	if s.Keys, err = s.accounts.Keys(first.User); err != nil {
		return "", err
	}
	return s.Challenge(), nil
}

// check answers client-final-message. Which part of it is wrong is nobody's business.
func (s *scramServer) check(text string) (string, error) {
	say, err := s.Verify(text)
	if err != nil {
		return "", ErrRefused
	}
	return say, nil
}

// scramClient proves to know the password without sending it, and checks that the server knows its keys.
type scramClient struct {
	scram.Client
	state  scramState
	proved bool
}

func (c *scramClient) Start() ([]byte, error) {
	if bad(c.User) || bad(c.Password) {
		return nil, ErrMalformed
	}
	say, err := c.First()
	if err != nil {
		return nil, ErrMalformed
	}
	c.MostWork, c.state = maxIterations, scramFirst
	return []byte(say), nil
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	state := c.state
	c.state = scramOver
	switch {
	case len(challenge) > maxScram:
		return nil, ErrMalformed
	case state == scramFirst && len(challenge) == 0:
		return c.Start() // the server takes no initial response
	case state == scramFirst:
		say, err := c.Final(string(challenge))
		if errors.Is(err, scram.ErrProof) {
			return nil, ErrRefused
		}
		if err != nil {
			return nil, ErrMalformed
		}
		c.state = scramProved
		return []byte(say), nil
	case state == scramProved:
		if c.Verify(string(challenge)) != nil {
			return nil, ErrRefused
		}
		c.proved = true
		return []byte{}, nil
	}
	return nil, ErrMalformed
}

// Proved says that the server has shown that it knows the secret. Without that its word of success is worth nothing.
func (c *scramClient) Proved() bool { return c.proved }
