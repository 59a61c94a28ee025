package smtp

import (
	"bytes"
	"fmt"
	"io"

	"pennypost/internal/message"
	"pennypost/internal/message/recode"
	"pennypost/internal/status"
)

// Check says whether a message can be sent at all: a bare CR or a NUL is a permanent *status.Error, 554 5.6.0. Send checks
// it too; this is for saying so before there is a server. body is what the message is, as in SMTP_BODY.
func Check(m *message.Message, body string) error {
	_, err := scanBody(m, body)
	return err
}

// scanBody is scan of what a message is as lines.
func scanBody(m *message.Message, body string) (content, error) {
	if body != BinaryMIME {
		return scan(m.Reader())
	}
	lines, err := Text(m)
	if err != nil {
		return content{}, err
	}
	defer lines.Close()
	what, err := scan(lines.Reader())
	what.size, what.binary = m.Size(), true
	return what, err
}

// Describe says in words what matters of a message to servers, or why it can be sent to none.
func Describe(m *message.Message, body string) (string, error) {
	what, err := scanBody(m, body)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%d bytes with CRLF", what.size)
	if what.binary {
		text += ", binary"
	}
	if what.eightHead {
		text += ", 8-bit header"
	}
	if what.eightBody {
		text += ", 8-bit body"
	}
	if what.longLine > 0 {
		text += fmt.Sprintf(", line %d is longer than %d bytes", what.longLine, recode.MaxLine)
	}
	return text, nil
}

// content is what must be known of a message before the first command is sent for it.
type content struct {
	size      int64 // on the wire: with CRLF, without stuffed dots and the final dot (RFC 1870 section 5)
	eightBody bool  // has bytes over 127 in the body
	eightHead bool  // has them in the header
	longLine  int64 // the first line of more than 998 bytes; 0 = none
	binary    bool  // goes as it is, BODY=BINARYMIME
}

func (c content) eightBit() bool { return c.eightBody || c.eightHead }

// scan reads a message through. A bare CR or a NUL makes it one that can never be sent: 65, 554 5.6.0, with its place.
func scan(r io.Reader) (content, error) {
	s := scanner{line: 1, head: true}
	buf := blocks.Get().(*[dataBuffer]byte)
	defer blocks.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if bad := s.add(buf[:n]); bad != nil {
			return content{}, bad
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return content{}, status.Errorf(status.IO, "read the message: %w", err)
		}
	}
	if s.cr {
		return content{}, s.refuse(errBareCR)
	}
	if s.column > 0 {
		s.f.size += 2
	}
	return s.f, nil
}

// scanner counts as DotWriter writes, over any cut of the input.
type scanner struct {
	f            content
	line, column int64 // line from 1; bytes of it so far
	head         bool
	cr           bool
}

func (s *scanner) add(b []byte) error {
	for len(b) > 0 {
		if s.cr && b[0] != '\n' {
			return s.refuse(errBareCR)
		}
		part, rest, ended := bytes.Cut(b, []byte("\n"))
		b = rest
		s.cr = false
		if bytes.HasSuffix(part, []byte("\r")) {
			part, s.cr = part[:len(part)-1], !ended
		}
		if err := s.part(part); err != nil {
			return err
		}
		if ended {
			s.head = s.head && s.column > 0
			s.f.size += 2
			s.line, s.column = s.line+1, 0
		}
	}
	return nil
}

// part takes bytes of a line without its end.
func (s *scanner) part(b []byte) error {
	if i := bytes.IndexByte(b, 0); i >= 0 && bytes.IndexByte(b[:i], '\r') < 0 {
		s.column += int64(i)
		return s.refuse(errNUL)
	}
	if i := bytes.IndexByte(b, '\r'); i >= 0 {
		s.column += int64(i)
		return s.refuse(errBareCR)
	}
	switch {
	case s.head:
		s.f.eightHead = s.f.eightHead || has8Bit(b)
	case !s.f.eightBody:
		s.f.eightBody = has8Bit(b)
	}
	s.column += int64(len(b))
	s.f.size += int64(len(b))
	if s.column > recode.MaxLine && s.f.longLine == 0 {
		s.f.longLine = s.line
	}
	return nil
}

func has8Bit(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

func (s *scanner) refuse(err error) error {
	return status.Errorf(status.Data, "%w, line %d, byte %d", err, s.line, s.column+1)
}
