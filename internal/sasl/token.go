package sasl

import (
	"errors"
	"strings"
	"unicode/utf8"

	"pennypost/internal/status"
)

// maxToken bounds a token, in bytes: with base64 it still fits into the 12288 of an AUTH line.
const maxToken = 8192

// tokenServer is OAUTHBEARER of RFC 7628 and its forerunner XOAUTH2: the client sends a token that somebody else has made
// and can check. A refusal is told as a challenge in JSON, to which the client says something of no meaning, and then the
// exchange has failed (RFC 7628 section 3.2.3).
type tokenServer struct {
	mechanism string
	check     func(mechanism, user, token string) error
	asked     bool
	over      bool
	refused   error
}

func (s *tokenServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case s.refused != nil:
		err := s.refused
		s.refused, s.over = nil, true
		return nil, false, err
	case s.over:
		return nil, false, ErrMalformed
	case response == nil && !s.asked:
		s.asked = true
		return []byte{}, false, nil
	}
	s.over = true
	user, token, ok := parseToken(s.mechanism, string(response))
	if !ok {
		return nil, false, ErrMalformed
	}
	err := s.check(s.mechanism, user, token)
	if err == nil {
		return nil, true, nil
	}
	var known *status.Error
	if errors.As(err, &known) && known.Class == status.Temporary {
		return nil, false, err
	}
	s.refused = err
	if s.mechanism == "XOAUTH2" {
		return []byte(`{"status":"401","schemes":"bearer"}`), false, nil
	}
	return []byte(`{"status":"invalid_token","schemes":"bearer"}`), false, nil
}

// parseToken reads the client's message: "n,a=user,^Ahost=h^Aport=p^Aauth=Bearer token^A^A" for OAUTHBEARER (RFC 7628 section
// 3.1), "user=user^Aauth=Bearer token^A^A" for XOAUTH2.
func parseToken(mechanism, text string) (user, token string, ok bool) {
	text, ended := strings.CutSuffix(text, "\x01\x01")
	if !ended || len(text) > maxToken+2*maxSecret || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return "", "", false
	}
	head, pairs, _ := strings.Cut(text, "\x01")
	if mechanism == "XOAUTH2" {
		if user, ok = strings.CutPrefix(head, "user="); !ok || user == "" {
			return "", "", false
		}
	} else if user, ok = parseHeader(head); !ok {
		return "", "", false
	}
	if user != "" && bad(user) || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' }) {
		return "", "", false
	}
	token, ok = bearer(pairs)
	return user, token, ok
}

// parseHeader reads a gs2-header without channel binding (RFC 5801 section 4) and returns the identity in it.
func parseHeader(head string) (user string, ok bool) {
	part := strings.Split(head, ",")
	if len(part) != 3 || part[0] != "n" && part[0] != "y" || part[2] != "" {
		return "", false
	}
	if part[1] == "" {
		return "", true
	}
	name, ok := strings.CutPrefix(part[1], "a=")
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name), ok && name != ""
}

// bearer finds the one auth= among the pairs and the token in it.
func bearer(pairs string) (token string, ok bool) {
	for pair := range strings.SplitSeq(pairs, "\x01") {
		value, found := strings.CutPrefix(pair, "auth=")
		if !found {
			continue
		}
		scheme, rest, _ := strings.Cut(value, " ")
		if ok || !strings.EqualFold(scheme, "Bearer") {
			return "", false
		}
		token, ok = strings.TrimLeft(rest, " "), true
	}
	plain := func(r rune) bool { return r <= ' ' || r > '~' }
	return token, ok && token != "" && len(token) <= maxToken && !strings.ContainsFunc(token, plain)
}

// tokenClient hands over a token.
type tokenClient struct {
	mechanism, user, token string
	asked, refused         bool
}

func (c *tokenClient) Start() ([]byte, error) {
	if c.user != "" && (bad(c.user) || strings.ContainsFunc(c.user, func(r rune) bool { return r < ' ' })) {
		return nil, ErrMalformed
	}
	if _, ok := bearer("auth=Bearer " + c.token); !ok {
		return nil, ErrMalformed
	}
	head := "user=" + c.user
	if c.mechanism == "OAUTHBEARER" {
		head = "n,,"
		if c.user != "" {
			head = "n,a=" + strings.NewReplacer(",", "=2C", "=", "=3D").Replace(c.user) + ","
		}
	} else if c.user == "" {
		return nil, ErrMalformed
	}
	return []byte(head + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
}

// Next answers an empty challenge by the token once, and the reasons of a refusal by a word of no meaning, after which the
// server ends the exchange (RFC 7628 section 3.2.3).
func (c *tokenClient) Next(challenge []byte) ([]byte, error) {
	switch {
	case len(challenge) == 0 && !c.asked:
		c.asked = true
		return c.Start()
	case c.refused:
		return nil, ErrMalformed
	}
	c.refused = true
	if c.mechanism == "XOAUTH2" {
		return []byte{}, nil
	}
	return []byte{1}, nil
}
