package smtp

import (
	"fmt"
	"strings"
)

// ehlo is RFC 5321 section 4.1.1.1: the greeting, answered by the list of extensions that may be used now.
func (s *session) ehlo(arg string) Reply {
	if r, ok := s.hello(arg, "EHLO hostname"); !ok {
		return r
	}
	s.facts.Extended = true
	return Reply{250, "", append([]string{s.srv.Name}, s.extensions()...)}
}

// extensions lists what the session offers at this point.
func (s *session) extensions() []string {
	list := []string{"PIPELINING", fmt.Sprintf("SIZE %d", s.srv.MaxSize), "VRFY"}
	if s.srv.TLS != nil && !s.secure {
		list = append(list, "STARTTLS")
	}
	if s.mayLogin() && s.facts.Envelope.Conn.AuthUser == "" {
		list = append(list, "AUTH "+strings.Join(s.srv.Auth.Mechanisms, " "))
	}
	return append(list, "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING")
}

// mayLogin says whether AUTH is offered on the connection as it is now: a password in clear is for everybody to read
// (RFC 4954 section 4).
func (s *session) mayLogin() bool {
	return s.srv.Auth != nil && len(s.srv.Auth.Mechanisms) > 0 && (s.secure || s.srv.Auth.Plaintext)
}
