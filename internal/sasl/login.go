package sasl

import "unicode/utf8"

// loginServer is LOGIN: the server asks for the user and then for the password. An initial response is the user.
type loginServer struct {
	check Check
	state loginState
	user  string
}

type loginState uint8

const (
	loginBegin    loginState = iota // nothing heard
	loginUser                       // asked for the user
	loginPassword                   // asked for the password
	loginOver
)

func (s *loginServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case s.state == loginBegin && response == nil:
		s.state = loginUser
		return []byte("Username:"), false, nil
	case s.state == loginBegin || s.state == loginUser:
		if s.user = string(response); bad(s.user) || !utf8.ValidString(s.user) {
			s.state = loginOver
			return nil, false, ErrMalformed
		}
		s.state = loginPassword
		return []byte("Password:"), false, nil
	case s.state == loginPassword:
		s.state = loginOver
		if bad(string(response)) || !utf8.Valid(response) {
			return nil, false, ErrMalformed
		}
		if err := s.check(s.user, string(response)); err != nil {
			return nil, false, err
		}
		return nil, true, nil
	}
	return nil, false, ErrMalformed
}

// loginClient answers the first challenge with the user and the second with the password, whatever their words are:
// servers differ in them.
type loginClient struct {
	answers []string
}

func (c *loginClient) Start() ([]byte, error) { return nil, nil }

func (c *loginClient) Next([]byte) ([]byte, error) {
	if len(c.answers) == 0 || bad(c.answers[0]) {
		return nil, ErrMalformed
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return []byte(answer), nil
}
