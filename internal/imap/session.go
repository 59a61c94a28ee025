package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"pennypost/internal/imap/wire"
)

// A session is in one of these states (RFC 3501 section 3):
//
//	notAuthenticated -> LOGIN, AUTHENTICATE -> authenticated -> SELECT, EXAMINE -> selected
//	selected -> CLOSE, UNSELECT, failed SELECT -> authenticated;  any -> LOGOUT -> ended
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected
	anyState = notAuthenticated | authenticated | selected
)

// Limits before and after the login.
var (
	strangerLimits = wire.Limits{Line: 8 << 10, Literal: 1 << 10, Command: 2 << 10, Literals: 4, Skip: 0}
	userLimits     = wire.Limits{Line: 256 << 10, Literal: 64 << 10, Command: 1 << 20, Literals: 1000, Skip: 256 << 20}
)

const (
	maxBad      = 20              // commands in a row that make no sense before the session ends
	maxFails    = 3               // failed logins
	readTimeout = 3 * time.Minute // for the next bytes inside a command
	sendTimeout = 5 * time.Minute // for 16 KiB
)

type session struct {
	ctx     context.Context
	cfg     *Config
	peer    Peer
	conn    net.Conn
	dec     *wire.Decoder
	w       *wire.Writer
	state   state
	account *Account
	box     *mailbox
	secure  bool
	fails   int
	bad     int
	ended   bool // LOGOUT
	secret  bool // what is read now is not for the transcript

	mu      sync.Mutex
	waiting bool // between two commands: may be interrupted
	stopped bool
}

// errStopping ends a session between two commands because the server stops.
var errStopping = errors.New("the server is stopping")

// errBroken marks a session that cannot go on and has told so already.
var errBroken = errors.New("session ended")

func newSession(ctx context.Context, cfg *Config, conn net.Conn, p Peer) *session {
	s := &session{ctx: ctx, cfg: cfg, peer: p, state: notAuthenticated, secure: p.Secure}
	s.dec = wire.NewDecoder(nil, strangerLimits)
	s.dec.Continue = func() error { return s.prompt("go on") }
	s.w = wire.NewWriter(nil)
	s.attach(conn)
	if cfg.Trace != nil {
		s.dec.Trace = s.traceIn
		s.w.Trace = func(line []byte) { cfg.Trace("<- " + string(line)) }
	}
	return s
}

// attach continues the session on conn.
func (s *session) attach(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	s.dec.Reset(reader{s, conn})
	s.w.Reset(sender{conn})
}

// A reader gives every read its time, except while the session waits for a command, which has its own.
type reader struct {
	s    *session
	conn net.Conn
}

func (r reader) Read(p []byte) (int, error) {
	if !r.s.waiting {
		r.conn.SetReadDeadline(time.Now().Add(readTimeout))
	}
	return r.conn.Read(p)
}

type sender struct{ conn net.Conn }

func (w sender) Write(p []byte) (int, error) {
	w.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	return w.conn.Write(p)
}

// traceIn writes a line of the client to the transcript. What follows LOGIN or AUTHENTICATE is left out, also
// where the tag is missing or too many blanks make it no command.
func (s *session) traceIn(line []byte, more bool) {
	text := string(line)
	if !more {
		s.secret = false
		words := strings.Fields(text)
		for i, w := range words[:min(2, len(words))] {
			if strings.EqualFold(w, "LOGIN") || strings.EqualFold(w, "AUTHENTICATE") {
				s.secret = true
				text = strings.Join(words[:i+1], " ") + " ***"
			}
		}
	} else if s.secret {
		text = "***"
	}
	s.cfg.Trace("-> " + text)
}

func (s *session) close() {
	s.leave()
	if s.account != nil {
		s.account.Dir.Close()
	}
	s.conn.Close()
}

// leave closes the selected mailbox, if there is one.
func (s *session) leave() {
	if s.box != nil {
		s.box.dir.Close()
		s.box = nil
		s.state = authenticated
	}
}

func (s *session) run() error {
	done := make(chan struct{})
	defer close(done)
	go s.watch(done)
	if err := s.greet(); err != nil {
		return err
	}
	for !s.ended {
		err := s.wait()
		if err == nil {
			err = s.command()
		}
		if err != nil {
			return s.bye(err)
		}
	}
	return s.w.Flush()
}

// watch interrupts the wait for a command when the server stops.
func (s *session) watch(done chan struct{}) {
	select {
	case <-done:
	case <-s.peer.Stopping:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = true
		if s.waiting {
			s.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// waits begins or ends a wait for the next command or for the end of IDLE.
func (s *session) waits(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = on
	if !on {
		return nil
	}
	if s.stopped {
		s.waiting = false
		return errStopping
	}
	idle := s.cfg.Idle
	if s.state == notAuthenticated {
		idle = s.cfg.PreAuth
	}
	s.conn.SetReadDeadline(time.Now().Add(idle))
	return nil
}

// wait sends what is buffered and waits for the next command.
func (s *session) wait() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	if err := s.waits(true); err != nil {
		return err
	}
	err := s.dec.Wait()
	s.waits(false)
	if err != nil {
		return s.interrupted(err)
	}
	return nil
}

// interrupted tells a stop from a silent client.
func (s *session) interrupted(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped && errors.Is(err, os.ErrDeadlineExceeded) {
		return errStopping
	}
	return err
}

// bye tells the client why the session ends, where it can be told, and returns the error to report.
func (s *session) bye(err error) error {
	text := ""
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return nil
	case errors.Is(err, errStopping):
		text, err = "the server is stopping", nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		text = "nothing was heard for too long"
	case errors.Is(err, wire.ErrOverrun):
		text = "a line or literal is too long"
	case errors.Is(err, errGone):
		text = "the mailbox is gone"
	case errors.Is(err, errBroken):
		s.w.Flush()
		return err
	}
	if text != "" {
		s.w.Line("* BYE %s", text)
		s.w.Flush()
	}
	if err != nil && s.account != nil {
		err = fmt.Errorf("session of %q: %w", s.user(), err)
	}
	return err
}

func (s *session) user() string {
	if s.account == nil {
		return ""
	}
	return s.account.User
}

func (s *session) greet() error {
	if s.peer.Account != nil {
		s.enter(s.peer.Account)
		s.w.Line("* PREAUTH [CAPABILITY %s] Pennypost ready", s.capabilities())
	} else {
		s.w.Line("* OK [CAPABILITY %s] Pennypost ready", s.capabilities())
	}
	return s.w.Flush()
}

// enter makes the session that of an account.
func (s *session) enter(a *Account) {
	s.account, s.state = a, authenticated
	s.dec.Limits = userLimits
}

// prompt sends a continuation request.
func (s *session) prompt(text string) error {
	s.w.Line("+ %s", text)
	return s.w.Flush()
}

// A refusal is a tagged NO or BAD, with a response code (RFC 5530) or without.
type refusal struct {
	bad        bool
	code, text string
}

func (r *refusal) Error() string { return r.text }

func no(code, format string, a ...any) error {
	return &refusal{code: code, text: fmt.Sprintf(format, a...)}
}

func bad(format string, a ...any) error {
	return &refusal{bad: true, text: fmt.Sprintf(format, a...)}
}
