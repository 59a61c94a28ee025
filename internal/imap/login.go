package imap

import (
	"errors"
	"time"

	"pennypost/internal/status"
)

// mayLogin tells whether a password may be sent as the session is.
func (s *session) mayLogin() bool {
	return s.cfg.Login != nil && (s.secure || s.peer.Trusted || s.cfg.Plaintext)
}

var errLoginDisabled = no("PRIVACYREQUIRED", "use TLS before you log in")

// login is LOGIN (RFC 3501 section 6.2.3).
func (s *session) login(c *command) error {
	if err := s.dec.SP(); err != nil {
		return err
	}
	user, err := s.dec.AString()
	if err != nil {
		return err
	}
	if err := s.dec.SP(); err != nil {
		return err
	}
	password, err := s.dec.AString()
	if err != nil {
		return err
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	if !s.mayLogin() {
		return errLoginDisabled
	}
	return s.admit(c, s.check(user, password))
}

// check looks the user up and makes the session theirs when the password is right.
func (s *session) check(user, password string) error {
	a, err := s.cfg.Login(user, password)
	if err != nil {
		s.cfg.Log.Info("login failed", "peer", s.peer.Address, "user", status.Escape(user, 100), "err", err)
		return err
	}
	s.enter(a)
	s.cfg.Log.Info("login", "peer", s.peer.Address, "user", a.User)
	return nil
}

// admit answers a login. A failure is delayed, each one longer, and says no more than it must.
func (s *session) admit(c *command, err error) error {
	if err == nil {
		s.fails = 0
		c.code = "CAPABILITY " + s.capabilities()
		return nil
	}
	s.fails++
	timer := time.NewTimer(time.Duration(s.fails) * s.cfg.FailDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
	var st *status.Error
	if errors.As(err, &st) && st.Class == status.Temporary {
		return no("UNAVAILABLE", "logins are not possible now")
	}
	return no("AUTHENTICATIONFAILED", "user or password is wrong")
}
