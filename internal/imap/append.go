package imap

import (
	"fmt"
	"io"
	"time"

	"pennypost/internal/maildir"
)

// append is APPEND (RFC 3501 section 6.3.11) with APPENDUID (RFC 4315 section 3). A message that is not
// wanted is refused before it is sent; one that breaks off leaves nothing.
func (s *session) append(c *command) error {
	name, err := s.mailboxArg()
	if err != nil {
		return err
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	var flags []string
	if b, _ := s.dec.Peek(); b == '(' {
		if flags, err = s.words(s.dec.Flag); err != nil {
			return err
		}
		if err := s.dec.SP(); err != nil {
			return err
		}
	}
	var date time.Time
	if b, _ := s.dec.Peek(); b == '"' {
		if date, err = s.dateTime(); err != nil {
			return err
		}
		if err := s.dec.SP(); err != nil {
			return err
		}
	}
	dir, err := s.open(name, "TRYCREATE")
	if err != nil {
		return err
	}
	defer dir.Close()
	return s.take(c, dir, flags, date)
}

// take receives the literal into dir.
func (s *session) take(c *command, dir *maildir.Dir, flags []string, date time.Time) error {
	there, err := letters(s.ctx, dir, flags)
	if err != nil {
		return err
	}
	r, _, err := s.dec.Literal(s.cfg.MaxMessage)
	if err != nil {
		return err
	}
	staged, err := dir.Stage(&lfReader{r: r}, maildir.StageOptions{Flags: there, Time: date})
	if err != nil {
		return err
	}
	if err := s.dec.After(); err != nil {
		staged.Abort()
		return err
	}
	if err := s.dec.End(); err != nil {
		staged.Abort()
		return err
	}
	if err := staged.Commit(); err != nil {
		return err
	}
	x, err := dir.Index(s.ctx, s.account.Dir.NewValidity)
	if err != nil {
		return err
	}
	for i := len(x.Messages) - 1; i >= 0; i-- {
		if x.Messages[i].Key == staged.Key() {
			c.code = fmt.Sprintf("APPENDUID %d %d", x.Validity, x.Messages[i].UID)
			break
		}
	}
	return nil
}

// dateTime reads a date-time (RFC 3501 section 9); a day of one digit may lack its blank.
func (s *session) dateTime() (time.Time, error) {
	text, err := s.dec.String()
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", text)
	if err != nil {
		return t, bad("that is no date-time")
	}
	return t, nil
}

// An lfReader gives what r gives with LF in place of CRLF, the form in which messages are stored.
type lfReader struct {
	r  io.Reader
	cr bool // a CR is held back
}

func (l *lfReader) Read(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, io.ErrShortBuffer
	}
	n, err := l.r.Read(p[1:])
	out := 0
	for _, c := range p[1 : 1+n] {
		if l.cr && c != '\n' {
			p[out] = '\r'
			out++
		}
		if l.cr = c == '\r'; !l.cr {
			p[out] = c
			out++
		}
	}
	if err == io.EOF && l.cr {
		l.cr = false
		p[out] = '\r'
		out++
	}
	return out, err
}
