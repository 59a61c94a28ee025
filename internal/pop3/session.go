package pop3

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"pennypost/internal/maildir"
	"pennypost/internal/status"
)

// state is where a session stands (RFC 1939 section 3). The update state is the
// work of QUIT and has no commands.
type state uint8

const (
	authorization state = 1 << iota
	transaction
)

type session struct {
	ctx    context.Context
	o      Options
	conn   net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	state  state
	user   string // named by USER, waits for PASS
	logins int    // failed ones
	errors int
	delay  time.Duration // after the next failed login
	dir    *maildir.Dir
	drop   *drop
	sum    Summary
}

// errEnd ends a session in order.
var errEnd = errors.New("session ended")

var errLineTooLong = errors.New("line too long")

// loop reads commands and runs them until one returns an error.
func (s *session) loop() error {
	if s.state == 0 {
		s.state = authorization
	}
	for {
		line, err := s.readLine()
		switch {
		case errors.Is(err, errLineTooLong):
			err = s.mistake("line too long")
		case err == nil:
			err = s.command(line)
		}
		if err != nil {
			return err
		}
	}
}

// readLine reads a command without its line end, CRLF or LF. What is to be said
// is sent before waiting, and not as long as commands are there already.
func (s *session) readLine() ([]byte, error) {
	if b, _ := s.r.Peek(s.r.Buffered()); bytes.IndexByte(b, '\n') < 0 {
		if err := s.w.Flush(); err != nil {
			return nil, fmt.Errorf("send: %w", err)
		}
		if err := s.conn.SetReadDeadline(time.Now().Add(idleTime)); err != nil {
			return nil, err
		}
	}
	line, err := s.r.ReadSlice('\n')
	for long := err == bufio.ErrBufferFull; long && err == bufio.ErrBufferFull; {
		if _, err = s.r.ReadSlice('\n'); err == nil {
			return nil, errLineTooLong
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// RFC 1939 section 3: no update, and nothing need be said.
		return nil, status.Errorf(status.TempFail, "no command for %v: %w", idleTime, err)
	}
	if err != nil {
		return nil, err // a last line without an end is no command
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
	if len(line) > maxLine {
		return nil, errLineTooLong
	}
	return line, nil
}

// command runs one command line.
func (s *session) command(line []byte) error {
	verb, arg, err := parse(line)
	c := commands[verb]
	s.traceCommand(verb, arg, c)
	switch {
	case err != nil:
		return s.mistake(err.Error())
	case c == nil:
		return s.mistake("unknown command")
	case c.states&s.state == 0 && s.state == authorization:
		return s.mistake("log in first")
	case c.states&s.state == 0:
		return s.mistake("you are logged in already")
	}
	args, ok := c.split(arg)
	if !ok {
		return s.mistake("usage: " + c.usage)
	}
	return c.run(s, args)
}

// traceCommand shows a command without what may be a secret: the argument of
// PASS, and of a verb that may be PASS mistyped.
func (s *session) traceCommand(verb, arg string, c *command) {
	if s.o.Trace == nil {
		return
	}
	switch {
	case arg == "":
	case c == nil || c.secret:
		verb += " ***"
	default:
		verb += " " + arg
	}
	s.o.Trace("-> " + status.Escape(verb, maxLine))
}

// reply writes one line of ours.
func (s *session) reply(line string) {
	if s.o.Trace != nil {
		s.o.Trace("<- " + line)
	}
	s.w.WriteString(line) // an error stays in s.w until Flush
	s.w.WriteString("\r\n")
}

func (s *session) ok(format string, a ...any) { s.reply("+OK " + fmt.Sprintf(format, a...)) }

// fail answers -ERR with a response code (RFC 2449 section 8), or without one.
func (s *session) fail(code, format string, a ...any) {
	if code != "" {
		code = "[" + code + "] "
	}
	s.reply("-ERR " + code + fmt.Sprintf(format, a...))
}

// refuse is fail for a request that was sound but cannot be granted.
func (s *session) refuse(code, format string, a ...any) error {
	s.fail(code, format, a...)
	return nil
}

// mistake answers a command that is wrong in itself, and ends the session when there are too many.
func (s *session) mistake(text string) error {
	s.errors++
	if s.errors >= maxErrors {
		s.fail("", "%s; too many errors", text)
		return errEnd
	}
	return s.refuse("", "%s", text)
}

// list ends a reply of several lines.
func (s *session) list(lines []string) {
	for _, l := range lines {
		s.reply(l)
	}
	s.reply(".")
}

// send writes a message of up to lines lines of text, or all of it if lines is negative.
func (s *session) send(r io.Reader, lines int64) error {
	n, err := writeText(s.w, r, lines)
	if s.o.Trace != nil {
		s.o.Trace(fmt.Sprintf("# %d octets", n))
	}
	return err
}
