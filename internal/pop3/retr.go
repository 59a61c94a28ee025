package pop3

import "fmt"

// retr sends a message (RFC 1939 section 5).
func (s *session) retr(args []string) error { return s.sendMessage(args[0], -1) }

// sendMessage sends a message, or its header and so many lines of its body. When
// reading fails in the middle the only way to tell the client is to leave.
func (s *session) sendMessage(arg string, lines int64) error {
	it := s.drop.message(arg)
	if it == nil {
		return s.refuse("", "no such message")
	}
	f, err := s.dir.OpenEntry(it.entry)
	if err != nil {
		s.o.Log.Warn("message cannot be read", "error", err)
		return s.refuse("SYS/TEMP", "message cannot be read now")
	}
	defer f.Close()
	s.ok("%d octets", it.size)
	if err := s.send(f, lines); err != nil {
		return fmt.Errorf("send message %q: %w", it.entry.Name, err)
	}
	if lines < 0 {
		s.sum.Retrieved++
	}
	return nil
}
