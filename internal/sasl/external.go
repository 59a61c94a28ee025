package sasl

import "unicode/utf8"

// externalServer is EXTERNAL of RFC 4422 appendix A: one message, the identity to act as, which may be empty.
type externalServer struct {
	accept func(user string) error
	asked  bool
	over   bool
}

func (s *externalServer) Next(response []byte) ([]byte, bool, error) {
	if s.over {
		return nil, false, ErrMalformed
	}
	if response == nil && !s.asked {
		s.asked = true
		return []byte{}, false, nil
	}
	s.over = true
	if user := string(response); user != "" && (bad(user) || !utf8.ValidString(user)) {
		return nil, false, ErrMalformed
	}
	if err := s.accept(string(response)); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// externalClient says as whom to act; empty leaves it to the server, which knows us by the layer below.
type externalClient struct {
	user string
	over bool
}

func (c *externalClient) Start() ([]byte, error) {
	if c.user != "" && bad(c.user) {
		return nil, ErrMalformed
	}
	return []byte(c.user), nil
}

// Next answers the empty challenge of a server that takes no initial response.
func (c *externalClient) Next(challenge []byte) ([]byte, error) {
	if c.over || len(challenge) > 0 {
		return nil, ErrMalformed
	}
	c.over = true
	return c.Start()
}
