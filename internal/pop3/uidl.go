package pop3

import "fmt"

// uidl tells the unique-id of one message or of all (RFC 1939 section 7).
func (s *session) uidl(args []string) error {
	return s.perMessage(args, func(n int, it *item) string { return fmt.Sprint(n, " ", it.uid) })
}
