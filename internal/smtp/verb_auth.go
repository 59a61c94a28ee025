package smtp

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"pennypost/internal/status"
)

// auth is RFC 4954: AUTH mechanism [initial-response].
func (s *session) auth(arg string) Reply {
	mechanism, initial, given := strings.Cut(arg, " ")
	mechanism, initial = strings.ToUpper(mechanism), strings.TrimLeft(initial, " ")
	switch {
	case s.srv.Auth == nil:
		return Reply{502, "5.5.1", []string{"Error: authentication is not available"}}
	case !s.facts.Extended:
		return needEHLO()
	case s.facts.Envelope.Conn.AuthUser != "":
		return Reply{503, "5.5.1", []string{"Error: already authenticated"}}
	case !s.secure && !s.srv.Auth.Plaintext:
		return Reply{538, "5.7.11", []string{"Error: encryption is needed first; use STARTTLS"}}
	case mechanism == "":
		return syntax("AUTH mechanism")
	}
	a := s.authenticator()
	if a == nil || !slices.Contains(a.Mechanisms, mechanism) {
		return Reply{504, "5.5.4", []string{"Error: unknown mechanism"}}
	}
	var response []byte
	if given {
		var ok bool
		if response, ok = decodeResponse(initial); !ok {
			return badBase64()
		}
	}
	user := ""
	r := s.exchange(a.Start(mechanism, func(name string) { user = name }), response)
	if r.Code == 235 {
		s.facts.Envelope.Conn.AuthUser, s.facts.Mechanism = user, mechanism
	}
	return r
}

// exchange goes through challenges and responses.
func (s *session) exchange(x AuthExchange, response []byte) Reply {
	for range maxChallenges {
		challenge, done, err := x.Next(response)
		switch {
		case err != nil:
			return s.loginFailed(err)
		case done:
			return Reply{235, "2.7.0", []string{"Authentication successful"}}
		}
		s.reply(Reply{334, "", []string{base64.StdEncoding.EncodeToString(challenge)}})
		line, err := s.readLine()
		switch {
		case errors.Is(err, errLongLine):
			return Reply{500, "5.5.6", []string{"Error: authentication line too long"}}
		case err != nil:
			s.inputFailed(err)
			return Reply{}
		case line == "*":
			return Reply{501, "5.7.0", []string{"Authentication cancelled"}}
		}
		var ok bool
		if response, ok = decodeChallenge(line); !ok {
			return badBase64()
		}
	}
	return s.loginFailed(errors.New("the exchange does not come to an end"))
}

// loginFailed counts and answers a failed login. Trouble on our side is told as such, so that no client drops its password;
// anything else looks alike.
func (s *session) loginFailed(err error) Reply {
	s.logins++
	var known *status.Error
	temporary := errors.As(err, &known) && known.Class == status.Temporary
	if known == nil {
		err = status.Errorf(status.NoPerm, "%w", err).WithReply(535, "5.7.8")
	}
	s.logRefusal("login refused", err)
	if temporary {
		return Reply{454, "4.7.0", []string{"Temporary authentication failure"}}
	}
	return Reply{535, "5.7.8", []string{"Error: authentication failed"}}
}

// decodeResponse reads an initial response: base64, or "=" for an empty one (RFC 4954 section 4).
func decodeResponse(text string) ([]byte, bool) {
	if text == "=" {
		return []byte{}, true
	}
	if text == "" {
		return nil, false
	}
	return decodeChallenge(text)
}

// decodeChallenge reads an answer; the empty line is an empty answer, which is not the same as none.
func decodeChallenge(text string) ([]byte, bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, false
	}
	return append([]byte{}, b...), true
}

func badBase64() Reply {
	return Reply{501, "5.5.2", []string{"Error: base64 expected"}}
}
