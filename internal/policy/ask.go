package policy

import (
	"context"
	"os"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
)

// DefaultAskDeadline is below the five minutes that a client waits for the banner and for a reply to MAIL and RCPT (RFC 5321
// section 4.5.3.2).
const DefaultAskDeadline = 4 * time.Minute

// Stage is where a session stands when a program is asked; it is the program's SMTP_STAGE.
type Stage string

// The stages, in the order of a session.
const (
	AtConnect Stage = "connect" // before the banner
	AtMail    Stage = "mail"    // the sender is named
	AtRcpt    Stage = "rcpt"    // a recipient is named
	AtData    Stage = "data"    // the message is complete
)

// Ask lets a program decide by the rules of mailpipe(7). The zero value asks nobody.
type Ask struct {
	Program  string        // found in PATH unless it has a slash in it; it gets no arguments
	Deadline time.Duration // 0 = DefaultAskDeadline
}

// At runs the program with e in its environment and m, which may be nil, on its standard input. It is nil when the program
// exits 0, and otherwise what its exit status and the last line of its standard error say; a program that cannot be run, is
// killed or takes too long is temporary.
func (a Ask) At(ctx context.Context, stage Stage, e *envelope.Envelope, m *message.Message) error {
	if a.Program == "" {
		return nil
	}
	if a.Deadline == 0 {
		a.Deadline = DefaultAskDeadline
	}
	if m == nil {
		m = message.Bytes(nil)
	}
	return handoff.Command{
		Args:     []string{a.Program},
		Environ:  append(os.Environ(), "SMTP_STAGE="+string(stage)),
		Deadline: a.Deadline,
	}.Run(ctx, m, e)
}
