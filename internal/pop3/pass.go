package pop3

import (
	"errors"
	"time"

	"pennypost/internal/status"
)

// pass logs in with the name of the USER before it (RFC 1939 section 7). After a
// failure the client has to wait, longer each time, and to start again with USER.
func (s *session) pass(args []string) error {
	if !s.clear() {
		return s.needTLS()
	}
	if s.user == "" {
		return s.mistake("give USER first")
	}
	user := s.user
	s.user = ""
	d, err := s.o.Login(user, args[0])
	if err == nil {
		if err = s.enter(d); err == nil {
			s.sum.User = user
			count, size := s.drop.total()
			s.ok("%d messages (%d octets)", count, size)
			return nil
		}
		s.close()
		s.dir = nil
	}
	return s.loginFailed(user, err)
}

func (s *session) loginFailed(user string, err error) error {
	s.o.Log.Warn("login failed", "user", user, "error", err)
	s.logins++
	code, text := "SYS/TEMP", "mailbox cannot be read now, try again later"
	switch {
	case errors.Is(err, ErrInUse):
		code, text = "IN-USE", "mailbox is in use by another session"
	case status.Of(err).Class == status.Permanent:
		code, text = "AUTH", "wrong name or password"
		if err := s.wait(); err != nil {
			return err
		}
	}
	s.fail(code, "%s", text)
	if s.logins >= maxLogins {
		return errEnd
	}
	return nil
}

// wait makes guessing slow. What was said before is sent first.
func (s *session) wait() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	t := time.NewTimer(s.delay)
	defer t.Stop()
	s.delay *= 2
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
