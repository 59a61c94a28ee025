package sasl

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/scram"
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

// Keys are a user's secret as SCRAM-SHA-256 (RFC 7677) needs it: no password can be computed from them (RFC 5802 section 3).
type Keys struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// scramServer is SCRAM-SHA-256 of RFC 5802 and RFC 7677, and with plus SCRAM-SHA-256-PLUS: the client has to show that it
// sees the same TLS connection as we do.
type scramServer struct {
	accounts Accounts
	plus     bool
	state    scramState
	conv     *scram.ServerConversation
	trouble  error         // of Keys
	nonce    func() string // of the server; nil: random
}

type scramState uint8

const (
	scramBegin  scramState = iota // nothing heard
	scramAsked                    // asked for client-first-message
	scramFirst                    // server-first-message is sent
	scramProved                   // server-final-message is sent
	scramOver
)

func (s *scramServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case s.state == scramBegin && response == nil:
		s.state = scramAsked
		return []byte{}, false, nil
	case s.state == scramBegin || s.state == scramAsked:
		return s.step(response, s.first, scramFirst)
	case s.state == scramFirst:
		return s.step(response, s.final, scramProved)
	case s.state == scramProved && len(response) == 0:
		s.state = scramOver
		if err := s.accounts.Accept(s.conv.Username()); err != nil {
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

// first answers client-first-message.
func (s *scramServer) first(text string) (string, error) {
	flag, _, _ := strings.Cut(text, ",")
	kind, bound := strings.CutPrefix(flag, "p=")
	if bound != s.plus {
		return "", ErrBinding // of the two names, only that with PLUS stands for binding (RFC 5802 section 6)
	}
	server, err := scram.SHA256.NewServer(s.lookup)
	if err != nil {
		return "", err
	}
	if s.nonce != nil {
		server.WithNonceGenerator(s.nonce)
	}
	switch {
	case s.plus:
		data, err := s.accounts.Binding(kind)
		if err != nil || len(data) == 0 {
			return "", ErrBinding
		}
		s.conv = server.NewConversationWithChannelBindingRequired(scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: data})
	case flag == "y" && s.accounts.Binding != nil:
		return "", ErrBinding // somebody on the way took our -PLUS away (RFC 5802 section 6)
	default:
		s.conv = server.NewConversation()
	}
	say, err := s.conv.Step(text)
	switch id := s.conv.AuthzID(); {
	case s.trouble != nil:
		return "", s.trouble
	case err != nil:
		return "", ErrMalformed
	case id != "" && id != s.conv.Username():
		return "", ErrIdentity
	}
	return say, nil
}

// final answers client-final-message. Which part of it is wrong is nobody's business.
func (s *scramServer) final(text string) (string, error) {
	say, err := s.conv.Step(text)
	if err != nil || !s.conv.Valid() {
		return "", ErrRefused
	}
	return say, nil
}

func (s *scramServer) lookup(user string) (scram.StoredCredentials, error) {
	if bad(user) {
		return scram.StoredCredentials{}, ErrMalformed
	}
	k, err := s.accounts.Keys(user)
	s.trouble = err
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations},
		StoredKey:  k.StoredKey,
		ServerKey:  k.ServerKey,
	}, err
}

// scramClient proves to know the password without sending it, and checks that the server knows its keys.
type scramClient struct {
	user, password string
	binding        *scram.ChannelBinding // nil: without
	could          bool                  // without a binding only because the server did not offer it
	nonce          func() string         // nil: random
	conv           *scram.ClientConversation
	steps          int
}

func (c *scramClient) Start() ([]byte, error) {
	client, err := scram.SHA256.NewClient(c.user, c.password, "")
	if err != nil || bad(c.user) || bad(c.password) {
		return nil, ErrMalformed
	}
	if c.nonce != nil {
		client.WithNonceGenerator(c.nonce)
	}
	c.steps = 0
	switch {
	case c.binding != nil:
		c.conv = client.NewConversationWithChannelBinding(*c.binding)
	case c.could:
		c.conv = client.NewConversationAdvertisingChannelBinding()
	default:
		c.conv = client.NewConversation()
	}
	say, err := c.conv.Step("")
	return []byte(say), err
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if c.conv == nil || c.conv.Done() || len(challenge) > maxScram {
		return nil, ErrMalformed
	}
	if c.steps == 0 && len(challenge) == 0 {
		return c.Start() // the server takes no initial response
	}
	c.steps++
	if tooMuchWork(string(challenge)) {
		return nil, ErrMalformed
	}
	say, err := c.conv.Step(string(challenge))
	if err != nil {
		return nil, ErrRefused
	}
	return []byte(say), nil
}

// Proved says that the server has shown that it knows the secret. Without that its word of success is worth nothing.
func (c *scramClient) Proved() bool { return c.conv != nil && c.conv.Valid() }

// tooMuchWork looks for an iteration count above the limit.
func tooMuchWork(challenge string) bool {
	for field := range strings.SplitSeq(challenge, ",") {
		if text, ok := strings.CutPrefix(field, "i="); ok {
			if n, err := strconv.Atoi(text); err != nil || n > maxIterations {
				return true
			}
		}
	}
	return false
}
