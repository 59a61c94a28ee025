package smtp

import (
	"fmt"
	"strconv"
	"strings"
)

// bdat is RFC 3030 section 2: a counted part of the message. The part is read in any case, also when it is refused, since it
// is sent without waiting. Without BODY=BINARYMIME the message is text: bare CR and LF are refused in it as in DATA.
func (s *session) bdat(arg string) Reply {
	n, last, ok := parseChunk(arg)
	if !ok {
		s.closing = true // what follows may be a chunk; it must not be read as commands
		return syntax("BDAT size [LAST]")
	}
	if s.state < addressed {
		if err := s.readChunk(n, nil); err != nil {
			s.inputLost(err)
			return Reply{}
		}
		return s.outOfOrder("BDAT")
	}
	s.state = chunking
	if s.chunks == nil {
		s.chunks = s.receiver(false)
	}
	r := s.chunks
	if err := s.readChunk(n, r); err != nil {
		s.inputLost(err)
		return Reply{}
	}
	if last || r.err != nil {
		s.chunks = nil
		return s.finish(r, last)
	}
	return Reply{250, "2.0.0", []string{fmt.Sprintf("Ok: %d octets received", n)}}
}

// parseChunk reads "size" or "size LAST".
func parseChunk(arg string) (n int64, last, ok bool) {
	size, word, more := strings.Cut(arg, " ")
	last = strings.EqualFold(word, "LAST")
	if more && !last || size == "" || strings.Trim(size, "0123456789") != "" {
		return 0, false, false
	}
	n, err := strconv.ParseInt(size, 10, 64)
	return n, last, err == nil
}
