package smtp

import (
	"fmt"
	"strings"
)

// ehlo is RFC 5321 section 4.1.1.1: the greeting, answered by the list of extensions that may be used now.
func (s *session) ehlo(arg string) Reply {
	return s.extended(arg, "EHLO hostname")
}

// extended is the greeting of a client that wants extensions.
func (s *session) extended(arg, usage string) Reply {
	if r, ok := s.hello(arg, usage); !ok {
		return r
	}
	s.facts.Extended = true
	return Reply{250, "", append([]string{s.srv.Name}, s.extensions()...)}
}

// extensions lists what the session offers at this point.
func (s *session) extensions() []string {
	list := []string{"PIPELINING", fmt.Sprintf("SIZE %d", s.srv.MaxSize), "VRFY"}
	if s.srv.Turn != nil {
		list = append(list, "ETRN")
	}
	if mayXClient(s) {
		list = append(list, "XCLIENT "+xclientNames)
	}
	if s.srv.TLS != nil && !s.secure {
		list = append(list, "STARTTLS")
	}
	if a := s.authenticator(); a != nil && s.facts.Envelope.Conn.AuthUser == "" {
		list = append(list, "AUTH "+strings.Join(a.Mechanisms, " "))
	}
	list = append(list, "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8")
	list = append(append(list, s.promised()...), "CHUNKING")
	if s.srv.BinaryMIME {
		list = append(list, BinaryMIME)
	}
	return list
}

// authenticator is what AUTH is done with on the connection as it is now, nil when it is not offered: a password in clear is
// for everybody to read (RFC 4954 section 4).
func (s *session) authenticator() *Authenticator {
	a := s.srv.Auth
	if a == nil || !s.secure && !a.Plaintext {
		return nil
	}
	if a.Session != nil {
		a = a.Session(&s.facts)
	}
	if a == nil || len(a.Mechanisms) == 0 {
		return nil
	}
	return a
}
