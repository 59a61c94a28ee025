package imap

// namespace is NAMESPACE (RFC 2342): one personal namespace without a prefix.
func (s *session) namespace(*command) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.w.Line(`* NAMESPACE (("" ".")) NIL NIL`)
	return nil
}
