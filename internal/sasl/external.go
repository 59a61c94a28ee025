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
