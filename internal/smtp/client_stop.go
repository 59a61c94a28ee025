package smtp

import (
	"context"
	"errors"
	"fmt"

	"pennypost/internal/status"
)

// Stage is a point in a session after which a test may end it: when what is named was answered well.
type Stage uint8

const (
	NoStage      Stage = iota
	StageConnect       // the connection is there, nothing was read
	StageBanner        // the greeting
	StageEhlo          // the first EHLO
	StageTLS           // TLS, and EHLO again
	StageAuth          // logged in
	StageMail          // MAIL
	StageRcpt          // all RCPT
	StageData          // DATA
	StageDot           // the message and its end were sent; the reply is not read
)

var stageNames = map[string]Stage{
	"connect": StageConnect, "banner": StageBanner, "ehlo": StageEhlo, "tls": StageTLS, "auth": StageAuth,
	"mail": StageMail, "rcpt": StageRcpt, "data": StageData, "dot": StageDot,
}

// ParseStage reads the name of a stage.
func ParseStage(name string) (Stage, bool) {
	s, ok := stageNames[name]
	return s, ok
}

// ErrStopped is in the error of recipients whose message was not sent because the session was to end before. It counts as
// permanent: no other host is to be tried.
var ErrStopped = errors.New("stopped as asked for")

// stoppedError is what the recipients get.
func (c *Client) stoppedError() *status.Error {
	return status.Errorf(status.HardFail, "%w after %s", ErrStopped, c.o.Stop)
}

// stopAt ends the session when it was to end here.
func (c *Client) stopAt(s Stage) bool {
	if c.o.Stop != s || s == NoStage {
		return false
	}
	c.stopped = true
	if c.o.Drop || s == StageConnect || s == StageDot || s == StageData {
		c.o.Transcript.Remark("connection dropped")
		c.conn.Close()
		c.dropped = true
	}
	return true
}

// halt makes a stopped session one that takes no message.
func (c *Client) halt(ctx context.Context) {
	if !c.dropped {
		c.Quit(ctx)
	}
	c.broken = c.stoppedError()
}

// stop gives those recipients that were not refused the word that nothing was sent to them.
func (t *transaction) stop(ctx context.Context, list []rcpt, reply *Reply) {
	t.c.halt(ctx)
	for _, r := range list {
		if r.out.Err == nil {
			r.out.Err = t.c.stoppedError()
			if reply != nil {
				r.out.Reply = *reply
			}
		}
	}
}

// mailReply is what is shown of recipients that were not asked about.
func (t *transaction) mailReply() *Reply {
	if t.c.o.Stop == StageMail {
		return &t.sender
	}
	return nil
}

// inData says that DATA was answered as it has to be.
func (t *transaction) inData() bool { return t.data.Code == 354 && len(t.accepted) > 0 }

// cut leaves out the commands behind the stage at which the session is to end. MAIL is at place mail.
func (c *Client) cut(steps []step, mail int) []step {
	switch {
	case c.o.Stop == StageMail:
		return steps[:mail+1]
	case c.o.Stop == StageRcpt && steps[len(steps)-1].line == "DATA":
		return steps[:len(steps)-1]
	}
	return steps
}

// String is the name of the stage.
func (s Stage) String() string {
	for name, stage := range stageNames {
		if s == stage {
			return name
		}
	}
	return fmt.Sprintf("stage %d", uint8(s))
}
