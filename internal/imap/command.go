package imap

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"pennypost/internal/imap/wire"
	"pennypost/internal/status"
)

// A verb is a row of the command table.
type verb struct {
	name   string
	states state
	// handle reads the arguments, all of them before it does anything, and does the command. nil is a tagged OK.
	handle func(*session, *command) error
	// numbers says that the client may have used sequence numbers, so that no message may leave the
	// list before it has the answer (RFC 3501 section 7.4.1).
	numbers bool
}

// A command is one that is being carried out.
type command struct {
	tag, name string
	uid       bool   // UID FETCH and the like
	code      string // response code of the tagged OK
	text      string // its text, when not the usual one
	answered  bool   // the tagged OK was sent already
}

var verbs = commandTable()

func commandTable() map[string]verb {
	list := []verb{
		{name: "CAPABILITY", states: anyState, handle: (*session).capability},
		{name: "NOOP", states: anyState, handle: (*session).noop},
		{name: "LOGOUT", states: anyState, handle: (*session).logout},
		{name: "ID", states: anyState, handle: (*session).id},
		{name: "STARTTLS", states: notAuthenticated, handle: (*session).startTLS},
		{name: "LOGIN", states: notAuthenticated, handle: (*session).login},
		{name: "AUTHENTICATE", states: notAuthenticated, handle: (*session).authenticate},
		{name: "NAMESPACE", states: authenticated | selected, handle: (*session).namespace},
		{name: "SELECT", states: authenticated | selected, handle: (*session).selectBox},
		{name: "EXAMINE", states: authenticated | selected, handle: (*session).selectBox},
		{name: "CREATE", states: authenticated | selected, handle: (*session).create},
		{name: "DELETE", states: authenticated | selected, handle: (*session).delete},
		{name: "RENAME", states: authenticated | selected, handle: (*session).rename},
		{name: "SUBSCRIBE", states: authenticated | selected, handle: (*session).subscribe},
		{name: "UNSUBSCRIBE", states: authenticated | selected, handle: (*session).subscribe},
		{name: "LIST", states: authenticated | selected, handle: (*session).list},
		{name: "LSUB", states: authenticated | selected, handle: (*session).lsub},
		{name: "STATUS", states: authenticated | selected, handle: (*session).status},
		{name: "APPEND", states: authenticated | selected, handle: (*session).append},
		{name: "IDLE", states: authenticated | selected, handle: (*session).idle},
		{name: "CHECK", states: selected, handle: (*session).noop},
		{name: "CLOSE", states: selected, handle: (*session).closeBox},
		{name: "UNSELECT", states: selected, handle: (*session).unselect},
		{name: "EXPUNGE", states: selected, handle: (*session).expunge},
		{name: "SEARCH", states: selected, handle: (*session).search, numbers: true},
		{name: "FETCH", states: selected, handle: (*session).fetch, numbers: true},
		{name: "STORE", states: selected, handle: (*session).store, numbers: true},
		{name: "COPY", states: selected, handle: (*session).copy},
		{name: "MOVE", states: selected, handle: (*session).move},
	}
	table := make(map[string]verb)
	for _, v := range list {
		table[v.name] = v
	}
	for _, name := range []string{"EXPUNGE", "SEARCH", "FETCH", "STORE", "COPY", "MOVE"} {
		v := table[name]
		v.name, v.numbers = "UID "+name, false
		table[v.name] = v
	}
	return table
}

// command reads one command, carries it out and answers it. An error ends the session.
func (s *session) command() error {
	if err := s.dec.Next(); err != nil {
		return err
	}
	c := &command{}
	v, err := s.parse(c)
	if err == nil {
		err = v.handle(s, c)
	}
	if fatal := s.fatal(err); fatal != nil {
		return fatal
	}
	if ferr := s.dec.Finish(); ferr != nil {
		return ferr
	}
	if s.box != nil && !isBad(err) {
		if err := s.update(!v.numbers); err != nil {
			return err
		}
	}
	s.answer(c, err)
	if s.bad > maxBad {
		s.w.Line("* BYE too many commands that make no sense")
		return errBroken
	}
	if s.fails >= maxFails {
		s.w.Line("* BYE too many failed logins")
		return errBroken
	}
	return s.w.Err()
}

// update tells the client what changed. Trouble that is not the end of the mailbox only puts it off.
func (s *session) update(expunge bool) error {
	err := s.box.update(s.ctx, s.w, expunge)
	if err != nil && !errors.Is(err, errGone) {
		s.cfg.Log.Error("update failed", "peer", s.peer.Address, "user", s.user(), "mailbox", s.box.name, "err", err)
		return nil
	}
	return err
}

// parse reads tag and name.
func (s *session) parse(c *command) (verb, error) {
	var err error
	if c.tag, err = s.dec.Tag(); err != nil {
		return verb{}, err
	}
	name, err := s.dec.Atom()
	if err != nil {
		return verb{}, err
	}
	c.name = strings.ToUpper(name)
	if c.name == "UID" {
		if err := s.dec.SP(); err != nil {
			return verb{}, err
		}
		if name, err = s.dec.Atom(); err != nil {
			return verb{}, err
		}
		c.name, c.uid = "UID "+strings.ToUpper(name), true
	}
	v, ok := verbs[c.name]
	if !ok {
		return verb{}, bad("unknown command")
	}
	if v.states&s.state == 0 {
		return verb{}, bad("%s is not for now: %s", c.name, stateNames[s.state])
	}
	return v, nil
}

var stateNames = map[state]string{
	notAuthenticated: "log in first",
	authenticated:    "a mailbox must be selected, and nobody logs in twice",
	selected:         "you are logged in",
}

// isBad tells whether the command was not understood.
func isBad(err error) bool {
	var r *refusal
	var syntax *wire.SyntaxError
	return errors.As(err, &syntax) || errors.As(err, &r) && r.bad
}

// fatal picks the errors after which the stream cannot be trusted any more.
func (s *session) fatal(err error) error {
	switch {
	case s.w.Err() != nil:
		return s.w.Err()
	case errors.Is(err, errGone), errors.Is(err, errBroken), errors.Is(err, errStopping):
		return err
	}
	return nil
}

// answer sends the tagged response.
func (s *session) answer(c *command, err error) {
	if c.answered {
		return
	}
	tag := c.tag
	if tag == "" {
		tag = "*"
	}
	if err == nil {
		s.bad = 0
		text := c.text
		if text == "" {
			text = c.name + " completed"
		}
		s.w.Line("%s OK %s%s", tag, bracket(c.code), text)
		return
	}
	var r *refusal
	var syntax *wire.SyntaxError
	switch {
	case errors.As(err, &syntax):
		r = &refusal{bad: true, text: syntax.Text}
		if s.secret { // the text shows what it was about
			r.text = "the arguments are not as they should be"
		}
	case errors.As(err, &r):
	case errors.Is(err, wire.ErrTooBig):
		r = &refusal{code: "TOOBIG", text: "a literal is too big"}
	default:
		r = s.trouble(c, err)
	}
	if r.bad {
		s.bad++
		s.w.Line("%s BAD %s", tag, status.Escape(r.text, 300))
		return
	}
	s.w.Line("%s NO %s%s", tag, bracket(r.code), status.Escape(r.text, 300))
}

func bracket(code string) string {
	if code == "" {
		return ""
	}
	return "[" + code + "] "
}

// trouble is what the client is told of an error that is none of its doing: the log has the rest.
func (s *session) trouble(c *command, err error) *refusal {
	s.cfg.Log.Error("command failed", "peer", s.peer.Address, "user", s.user(), "command", c.name, "err", err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &refusal{code: "INUSE", text: "another program keeps the mailbox locked"}
	case errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.ENOSPC):
		return &refusal{code: "OVERQUOTA", text: "there is no room"}
	case errors.Is(err, fs.ErrPermission):
		return &refusal{code: "NOPERM", text: "the mailbox may not be changed"}
	}
	return &refusal{code: "UNAVAILABLE", text: "the mailbox cannot be used now; the server's log has the reason"}
}
