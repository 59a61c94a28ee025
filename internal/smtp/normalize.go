package smtp

// normalizer takes a bare LF in message data as the CRLF that was meant, for a peer that is known to send such lines. It works
// behind the unstuffer and can make no end of data: that is CRLF "." CRLF of the client and nothing else. The dot that the
// client has put before a line that begins with one (RFC 5321 section 4.5.2) is taken off after a bare LF too, so that LF "."
// CRLF leaves an empty line. The result does not depend on how the bytes are cut into calls.
type normalizer struct {
	stuffed bool // dots were added, as for DATA
	last    byte
	bare    bool // the last byte was a bare LF
	out     []byte
}

// take returns what p means; it is valid until the next call.
func (n *normalizer) take(p []byte) []byte {
	n.out = n.out[:0]
	for _, c := range p {
		switch {
		case c == '\n' && n.last != '\r':
			n.out = append(n.out, '\r', '\n')
			n.last, n.bare = c, true
			continue
		case c == '.' && n.bare && n.stuffed:
		default:
			n.out = append(n.out, c)
		}
		n.last, n.bare = c, false
	}
	return n.out
}

// normalizer is nil for a peer whose bare LF is not forgiven.
func (s *session) normalizer(stuffed bool) *normalizer {
	if s.srv.Normalize == nil || !s.srv.Normalize(s.facts.Envelope.Conn.RemoteIP) {
		return nil
	}
	return &normalizer{stuffed: stuffed}
}
