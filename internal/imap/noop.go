package imap

// noop is NOOP and CHECK (RFC 3501 sections 6.1.2, 6.4.1): what changed is told after every command anyway.
func (s *session) noop(*command) error { return s.dec.End() }
