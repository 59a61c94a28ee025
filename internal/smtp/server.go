package smtp

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
)

// Handler decides what a session may do. The engine never sees policy, the handler never sees bytes of the protocol. Its
// methods are called one at a time within a session; one handler may serve many sessions at once, since what it needs to
// know of a session is in Facts. An error becomes the reply by status.Of: its code, its enhanced code and its text.
type Handler interface {
	// Connect is called before the banner. An error is sent in its place and the connection closed.
	Connect(ctx context.Context, f *Facts) error
	// Mail is called for each well-formed MAIL command, before the sender stands in f.Envelope.
	Mail(ctx context.Context, f *Facts, m *Mail) error
	// Rcpt is called for each well-formed RCPT command. It may change r.Address to the mailbox that is meant.
	Rcpt(ctx context.Context, f *Facts, r *Recipient) error
	// Data is called with the complete message in LF form, its Received field on top. When it returns nil, responsibility is
	// taken for every recipient of f.Envelope (RFC 5321 section 4.2.5). The engine closes m.
	Data(ctx context.Context, f *Facts, m *message.Message) error
	// Reset is called when a transaction ends, however it ends, and once more at the end of the session.
	Reset(f *Facts)
}

// Examiner is a Handler that looks at a message as a whole before it is handed on, and under LMTP once for all its recipients.
type Examiner interface {
	// Examine gets the message as Data would, for all recipients of f.Envelope, and returns what Data gets in its place. An
	// error refuses the message for all of them. With neither the message is taken and goes nowhere.
	Examine(ctx context.Context, f *Facts, m *message.Message) (*message.Message, error)
}

// Facts are what is known of a session so far.
type Facts struct {
	Session  string             // id of the session, in the log as sid
	ID       string             // id of the transaction, in the reply, the Received field and the log; empty outside
	Extended bool               // the client said EHLO or LHLO
	Service  Service            // what the server is there for
	Envelope *envelope.Envelope // never nil; Conn is filled as it becomes known, the rest during a transaction

	Mechanism string // by which Envelope.Conn.AuthUser has logged in, as in AUTH; empty when it was not here

	TLS    *tls.ConnectionState // of the TLS that this program does; nil without
	Policy any                  // what the handler keeps of the session; the engine does not look at it
	Attrs  []slog.Attr          // what the handler adds to the line about the message in the log; forgotten with the transaction
}

// Mail is a MAIL command (RFC 5321 section 4.1.1.2) with its parameters.
type Mail struct {
	Sender   envelope.Address // zero = null path
	Size     int64            // SIZE= (RFC 1870), -1 when not given
	Body     string           // BODY= (RFC 6152, RFC 3030): 7BIT, 8BITMIME, BINARYMIME where it is offered, or ""
	SMTPUTF8 bool             // RFC 6531
	Ret      string           // RET= (RFC 3461): FULL, HDRS or ""
	EnvID    string           // ENVID= in xtext, checked
	Auth     string           // AUTH= in xtext (RFC 4954 section 5), checked

	RequireTLS bool   // RFC 8689
	Priority   string // MT-PRIORITY= (RFC 6710), -9 to 9, checked
	By         string // BY= (RFC 2852), checked, upper case
	HoldFor    string // HOLDFOR= (RFC 4865), seconds, checked
	HoldUntil  string // HOLDUNTIL= (RFC 4865), in UTC by RFC 3339, checked
}

// Recipient is a RCPT command (RFC 5321 section 4.1.1.3) with its parameters.
type Recipient struct {
	Address envelope.Address // Domain is empty only for postmaster
	Notify  string           // NOTIFY= (RFC 3461), checked, upper case
	ORcpt   string           // ORCPT= (RFC 3461), checked
}

// AuthExchange is one AUTH exchange; sasl.Server is one.
type AuthExchange interface {
	Next(response []byte) (challenge []byte, done bool, err error)
}

// Authenticator starts AUTH exchanges.
type Authenticator struct {
	Mechanisms []string // names as the EHLO reply lists them
	// Start begins an exchange with one of Mechanisms. accepted is to be called with the user's name before Next says done.
	Start func(mechanism string, accepted func(user string)) AuthExchange
	// Plaintext allows AUTH without TLS.
	Plaintext bool
	// Session, when it is not nil, makes the Mechanisms and Start of one session as it is now, in place of those above. It is
	// asked where AUTH is allowed, at EHLO and at AUTH; nil from it means that there is no mechanism.
	Session func(f *Facts) *Authenticator
}

// Engine is the server. It speaks SMTP. A zero field means its default. It has no state of its own: Serve may be called many times at once.
type Engine struct {
	Name    string         // what it calls itself in the banner, in EHLO and in Received
	Handler Handler        // who decides
	TLS     *tls.Config    // nil: STARTTLS is not offered
	TLSOnly bool           // begin with TLS, before the banner (RFC 8314 section 3.3)
	Service Service        // what it is there for; under LMTP Handler.Data is called once for each recipient
	Auth    *Authenticator // nil: AUTH is not offered

	MaxSize       int64 // octets of a message with CRLF line ends, as in SIZE (RFC 1870); default 10240000
	MaxHeader     int64 // octets of a message's header section; default 1000000, negative: no limit
	MaxLine       int   // octets of a line of a message with CRLF; 0: no limit
	MaxRecipients int   // recipients of a message; default 1000
	MaxErrors     int   // commands refused before the connection is closed; default 20
	MaxJunk       int   // commands that lead to no mail before the connection is closed; default 100
	MaxLogins     int   // failed logins before the connection is closed; default 3

	GreetDelay     time.Duration // wait before the banner, to catch clients that talk first; default 1 millisecond
	CommandTimeout time.Duration // for one command line; default 5 minutes (RFC 5321 section 4.5.3.2.7)
	DataTimeout    time.Duration // for each block of a message; default 3 minutes
	MinRate        int           // bytes a second of message data, after DataTimeout of grace; default 500, negative: no limit
	LoginDelay     time.Duration // wait before the reply to the first failed login, doubled with each; default 1 second
	TotalTimeout   time.Duration // for the whole session; default 1 hour

	Promises   Promises // what is offered because it is kept behind Handler
	BinaryMIME bool     // offered; the Handler gets such messages as text, with base64 for what was binary (RFC 3030 section 3)

	Normalize func(ip string) bool // peers whose bare LF in message data is taken as CRLF; nil: none
	XClient   func(ip string) bool // peers that may say by XCLIENT for whom they speak; nil: none
	Verify    Verifier             // nil: VRFY says 252, EXPN 502
	Turn      Turner               // nil: ETRN is not offered

	// Stopping, when closed, ends sessions that are between two transactions with 421; others may finish theirs.
	Stopping <-chan struct{}

	Log    *slog.Logger // one line per fate of a message; nil: none
	Counts *Counts      // what is counted; nil: nothing
	Trace  io.Writer    // transcript of every session; nil: none
	// Record says where the recording of a session goes, see NewRecording; it is closed when the session is over.
	// nil: nowhere.
	Record func(*Facts) io.WriteCloser

	Now   func() time.Time // time in Received; nil: time.Now
	NewID func() string    // ids of sessions and transactions; nil: random, ten hexadecimal digits
}

// Defaults of Engine.
const (
	DefaultMaxSize       = 10240000
	DefaultMaxRecipients = 1000
	defaultMaxErrors     = 20
	defaultMaxJunk       = 100
	defaultMaxLogins     = 3

	DefaultCommandTimeout = 5 * time.Minute
	DefaultDataTimeout    = 3 * time.Minute
	DefaultTotalTimeout   = time.Hour
)

// Serve speaks on one connection until the client quits, is sent away or is lost, and closes c. When ctx ends, the client is
// told 421 at the next point where that is possible. info is what is known of the peer: without RemoteIP it is taken for a
// person or a file on a local pipe, and then bare LF ends command lines and everything may be said at once.
func (s *Engine) Serve(ctx context.Context, c net.Conn, info envelope.Connection) {
	sess := newSession(ctx, s.withDefaults(), c, info)
	defer s.Counts.begin()()
	defer sess.end()
	if sess.greet() {
		sess.loop()
	}
}

// withDefaults returns a copy with every default in place.
func (s *Engine) withDefaults() *Engine {
	d := *s
	or(&d.MaxSize, DefaultMaxSize)
	or(&d.MaxHeader, DefaultMaxHeader)
	or(&d.MaxRecipients, DefaultMaxRecipients)
	or(&d.MaxErrors, defaultMaxErrors)
	or(&d.MaxJunk, defaultMaxJunk)
	or(&d.MaxLogins, defaultMaxLogins)
	or(&d.GreetDelay, time.Millisecond)
	or(&d.CommandTimeout, DefaultCommandTimeout)
	or(&d.DataTimeout, DefaultDataTimeout)
	or(&d.MinRate, DefaultMinRate)
	or(&d.LoginDelay, defaultLoginDelay)
	or(&d.TotalTimeout, DefaultTotalTimeout)
	or(&d.Name, "localhost")
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.NewID == nil {
		d.NewID = randomID
	}
	return &d
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
