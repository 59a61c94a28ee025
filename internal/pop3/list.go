package pop3

import "fmt"

// scanListing tells the size of one message or of all (LIST, RFC 1939 section 5).
func (s *session) scanListing(args []string) error {
	return s.perMessage(args, func(n int, it *item) string { return fmt.Sprint(n, it.size) })
}

// perMessage answers with one line for the message of the argument, or a list for all.
func (s *session) perMessage(args []string, line func(n int, it *item) string) error {
	if len(args) == 1 {
		want := s.drop.message(args[0])
		if want == nil {
			return s.refuse("", "no such message")
		}
		s.drop.each(func(n int, it *item) {
			if it == want {
				s.ok("%s", line(n, it))
			}
		})
		return nil
	}
	count, size := s.drop.total()
	s.ok("%d messages (%d octets)", count, size)
	s.drop.each(func(n int, it *item) { s.reply(line(n, it)) })
	s.list(nil)
	return nil
}
