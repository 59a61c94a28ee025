package imap

import (
	"strings"
	"time"
)

// idle is IDLE (RFC 2177): changes are told as they are seen, until the client says DONE.
func (s *session) idle(c *command) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	if err := s.prompt("idling"); err != nil {
		return err
	}
	if err := s.waits(true); err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- s.dec.Wait() }()
	if err := s.lookUntil(heard); err != nil {
		return err
	}
	s.waits(false)
	if err := s.dec.More(); err != nil {
		return err
	}
	if word := string(s.dec.Line()); !strings.EqualFold(word, "DONE") {
		return bad("DONE expected")
	}
	return nil
}

// lookUntil looks for changes until the client is heard. After an error the stream is not used any more.
func (s *session) lookUntil(heard chan error) error {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for {
		if s.box != nil {
			if err := s.update(true); err != nil {
				return s.giveUp(heard, err)
			}
			if err := s.w.Flush(); err != nil {
				return s.giveUp(heard, err)
			}
		}
		select {
		case err := <-heard:
			if err != nil {
				return s.interrupted(err)
			}
			return nil
		case <-tick.C:
		}
	}
}

// giveUp ends the reader that waits for DONE.
func (s *session) giveUp(heard chan error, err error) error {
	s.mu.Lock()
	s.conn.SetReadDeadline(time.Unix(1, 0))
	s.mu.Unlock()
	<-heard
	return err
}
