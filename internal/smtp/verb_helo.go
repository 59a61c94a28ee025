package smtp

import "strings"

// helo is RFC 5321 section 4.1.1.1: the greeting of a client that wants no extensions.
func (s *session) helo(arg string) Reply {
	if r, ok := s.hello(arg, "HELO hostname"); !ok {
		return r
	}
	s.facts.Extended = false
	return Reply{250, "", []string{s.srv.Name}}
}

// hello takes the client's name and drops an open transaction, as both greetings do (RFC 5321 section 4.1.4).
func (s *session) hello(arg, usage string) (Reply, bool) {
	if !validHelo(arg) {
		return syntax(usage), false
	}
	s.reset()
	s.state = greeted
	s.facts.Envelope.Conn.Helo = arg
	return Reply{}, true
}

// validHelo takes any one word of printable ASCII: real clients say names that are none, and nothing is decided by it.
func validHelo(arg string) bool {
	return arg != "" && len(arg) <= 255 && !strings.ContainsFunc(arg, func(r rune) bool { return r <= ' ' || r > '~' })
}
