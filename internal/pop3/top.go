package pop3

import "strconv"

// top sends the header of a message and some lines of its body (RFC 1939 section 7).
func (s *session) top(args []string) error {
	lines, err := strconv.ParseUint(args[1], 10, 63)
	if err != nil {
		return s.mistake("usage: TOP msg n")
	}
	return s.sendMessage(args[0], int64(lines))
}
