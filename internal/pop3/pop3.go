// Package pop3 is the server side of a POP3 session over one Maildir.
//
// It hides the protocol: it speaks on a net.Conn, asks a function who may read
// which Maildir, and needs nothing else of the outside. It follows RFC 1939
// (with TOP, UIDL, USER and PASS, without APOP), RFC 2449 (CAPA, response codes,
// pipelining), RFC 2595 (STLS) and RFC 3206 (SYS/TEMP, AUTH). It guarantees:
//
//   - A message is removed only after QUIT, and only if it was marked by DELE. A
//     connection that breaks or times out changes nothing.
//   - QUIT moves the messages that stay from new to cur. No other flag is
//     changed: RETR does not make a message seen.
//   - Sizes count line ends as CRLF, as the message goes over the wire. The line
//     end that is added to a message without a final newline is not counted.
//   - Unique-ids come from the names of the files and stay the same as long as
//     these do, also when flags change.
//   - Every line, number of errors, login attempt and wait is bounded.
//
// RFC 1939 section 4 asks for a lock on the mailbox as far as needed. None is
// taken: a Maildir needs none, and a message that another program removes during
// the session only cannot be retrieved any more.
package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"pennypost/internal/maildir"
	"pennypost/internal/status"
)

const (
	maxLine     = 255 // longest command, without its line end (RFC 2449 section 4)
	maxErrors   = 20  // bad commands before the session ends
	maxLogins   = 3   // failed logins before the session ends
	idleTime    = 10 * time.Minute
	loginDelay  = time.Second // after the first failed login; doubled at each
	tlsPatience = time.Minute
)

// ErrInUse is for a Login function that finds the mailbox locked by another
// session; the client is told [IN-USE] and that its password was right.
var ErrInUse = errors.New("mailbox is in use")

// Login decides about a name and a password. A permanent *status.Error tells the
// client [AUTH], ErrInUse [IN-USE], and every other error [SYS/TEMP]; the text
// is not shown. The session closes the Maildir.
type Login func(user, password string) (*maildir.Dir, error)

// Options are what a session may do.
type Options struct {
	Login     Login
	Maildir   *maildir.Dir      // not nil: the user is known already, and this is the mailbox; the session closes it
	TLS       *tls.Config       // not nil: STLS is offered
	Secure    bool              // the connection is encrypted already: no STLS
	Plaintext bool              // USER and PASS are taken without TLS
	Log       *slog.Logger      // may be nil
	Trace     func(line string) // called with each line that goes over the wire, without secrets and messages; may be nil
}

// Summary is what happened in a session.
type Summary struct {
	User      string
	Retrieved int
	Removed   int
	Quit      bool // the session ended with QUIT
}

// Serve runs one session on c until QUIT, an error or too many of the client's.
// It does not close c. The error is nil when the client quit or left.
func Serve(ctx context.Context, c net.Conn, o Options) (Summary, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &session{ctx: ctx, o: o, delay: loginDelay}
	return s.serve(c)
}

func (s *session) serve(c net.Conn) (Summary, error) {
	s.attach(c)
	defer s.close()
	if s.o.Maildir != nil {
		if err := s.enter(s.o.Maildir); err != nil {
			s.fail("SYS/TEMP", "mailbox cannot be read now")
			return s.sum, errors.Join(err, s.w.Flush())
		}
	}
	s.ok("pennypost POP3 server ready")
	err := s.loop()
	if errors.Is(err, errEnd) || errors.Is(err, io.EOF) {
		err = nil
	}
	return s.sum, errors.Join(err, s.w.Flush())
}

// attach makes c the connection of the session.
func (s *session) attach(c net.Conn) {
	s.conn = c
	s.r = bufio.NewReaderSize(c, 4096)
	s.w = bufio.NewWriterSize(&patientWriter{c}, 32<<10)
}

// patientWriter gives the peer a new deadline for each piece.
type patientWriter struct{ net.Conn }

func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(idleTime)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// enter opens the mailbox and starts the transaction state.
func (s *session) enter(d *maildir.Dir) error {
	s.dir = d
	var err error
	if s.drop, err = openDrop(d); err != nil {
		return status.Errorf(status.TempFail, "read the mailbox: %w", err)
	}
	s.state = transaction
	return nil
}

func (s *session) close() {
	if s.dir != nil {
		s.dir.Close()
	}
}
