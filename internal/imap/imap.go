// Package imap serves mailboxes by IMAP4rev1 (RFC 3501) to one client at a time: one Config.Serve is one
// session over one Maildir++ (maildir.Dir with its folders).
//
// It hides the protocol: its states, its tokens (package wire), message sequence numbers, and how a
// message that is stored with LF is told of and sent with CRLF. Its guarantees:
//
//   - BODY[] is the stored message, byte for byte but for line ends; RFC822.SIZE is its length.
//   - What was answered OK (APPEND, COPY, MOVE, STORE, EXPUNGE) is on disk; an interrupted APPEND leaves nothing.
//   - No message can end a session: every one has a structure, and every part of it can be fetched.
//   - Memory is bounded whatever the client sends and however large messages are. Before a login
//     hardly anything is taken.
//   - Other programs may change the Maildir at any time; the session sees it at the next command, or in IDLE.
//
// Built beside RFC 3501: LITERAL+ (7888), SASL-IR (4959), IDLE (2177), NAMESPACE (2342), UIDPLUS (4315), MOVE (6851),
// UNSELECT (3691), CHILDREN (3348), ID (2971), and the response codes of RFC 5530.
package imap

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"pennypost/internal/maildir"
)

// An Account is whose mail a session serves. The session closes Dir.
type Account struct {
	User string
	Dir  *maildir.Dir // INBOX; its folders are the other mailboxes
}

// An Exchange is a SASL exchange on the server's side, as in package sasl: Next is given the client's
// messages (nil when there is no initial response) and returns challenges until done.
type Exchange interface {
	Next(response []byte) (challenge []byte, done bool, err error)
}

// Config is what all sessions of a server have in common. Login is required unless every Peer has an
// Account; zero limits are replaced by the defaults.
type Config struct {
	// Login checks a password; its error is not shown to the client, which learns only that the login failed.
	Login func(user, password string) (*Account, error)
	// SASL begins an exchange that calls check when it is complete; nil without AUTHENTICATE.
	SASL       func(mechanism string, check func(user, password string) error) (Exchange, bool)
	Mechanisms []string    // what SASL knows, as advertised
	TLS        *tls.Config // for STARTTLS; nil = not offered
	Plaintext  bool        // logins are allowed without TLS from anywhere

	Log   *slog.Logger      // nil = nothing is logged
	Trace func(line string) // the transcript: "-> ..." from the client, "<- ..." to it; secrets left out

	MaxMessage int64         // largest message APPEND takes; default 100 MiB
	Idle       time.Duration // silence after which a session ends; default 30 minutes (RFC 3501 section 5.4)
	PreAuth    time.Duration // the same before a login; default 1 minute
	Poll       time.Duration // how often IDLE looks for changes; default 1 second
	FailDelay  time.Duration // wait after the first failed login, twice after the second; default 2 seconds
}

// A Peer is what is known of one connection.
type Peer struct {
	Address  string          // for the log
	Secure   bool            // TLS is on already
	Trusted  bool            // nobody can listen: a pipe, a unix socket, the loopback interface
	Account  *Account        // not nil: logged in from the start (PREAUTH)
	Stopping <-chan struct{} // closed when the server wants sessions to end; may be nil
}

func (c *Config) withDefaults() *Config {
	d := *c
	set := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	set(&d.Idle, 30*time.Minute)
	set(&d.PreAuth, time.Minute)
	set(&d.Poll, time.Second)
	set(&d.FailDelay, 2*time.Second)
	if d.MaxMessage == 0 {
		d.MaxMessage = 100 << 20
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &d
}

// Serve runs one session on conn and closes it. It returns nil when the client logged out or went away
// between two commands, else why the session ended. Cancelling ctx ends waits for locks.
func (c *Config) Serve(ctx context.Context, conn net.Conn, p Peer) error {
	s := newSession(ctx, c.withDefaults(), conn, p)
	defer s.close()
	return s.run()
}
