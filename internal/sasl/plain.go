package sasl

import (
	"strings"
	"unicode/utf8"
)

// plainServer is PLAIN of RFC 4616: one message, [authzid] NUL authcid NUL password, in UTF-8.
type plainServer struct {
	check Check
	asked bool
	over  bool
}

func (s *plainServer) Next(response []byte) ([]byte, bool, error) {
	if s.over {
		return nil, false, ErrMalformed
	}
	if response == nil && !s.asked {
		s.asked = true
		return []byte{}, false, nil
	}
	s.over = true
	if len(response) > 3*maxSecret+2 || !utf8.Valid(response) {
		return nil, false, ErrMalformed
	}
	part := strings.Split(string(response), "\x00")
	if len(part) != 3 || bad(part[1]) || bad(part[2]) {
		return nil, false, ErrMalformed
	}
	if part[0] != "" && part[0] != part[1] {
		return nil, false, ErrIdentity
	}
	if err := s.check(part[1], part[2]); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

type plainClient struct {
	user, password string
}

func (c *plainClient) Start() ([]byte, error) {
	if bad(c.user) || bad(c.password) {
		return nil, ErrMalformed
	}
	return []byte("\x00" + c.user + "\x00" + c.password), nil
}

// Next answers the empty challenge of a server that does not take an initial response. A challenge with content is none
// of PLAIN's, and the secret is not sent for it.
func (c *plainClient) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 {
		return nil, ErrMalformed
	}
	return c.Start()
}
