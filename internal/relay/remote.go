package relay

import (
	"context"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

const (
	remoteDeadline = time.Hour
	maxReports     = 1 << 20 // bytes that a program may say of a message
)

// ByProgram hands mail to a program with the interface of qmail-remote(8), once for each domain: its arguments are the domain,
// the sender and the recipients, the message is its standard input, and it prints a report for each recipient (r accepted, h
// refused for ever, s for now) and one for the message (K, D, Z), each ended by a NUL. So a script can send by anything.
type ByProgram struct {
	Program string
}

// Destination is the domain in A-labels.
func (b ByProgram) Destination(a envelope.Address) (string, error) { return domainOf(a) }

// Hops is the program.
func (b ByProgram) Hops(_ context.Context, domain string) ([]Hop, error) {
	return []Hop{{Name: b.Program, Deliver: func(ctx context.Context, m *message.Message, e *envelope.Envelope) []smtp.Outcome {
		return b.run(ctx, domain, m, e)
	}}}, nil
}

func (b ByProgram) run(ctx context.Context, domain string, m *message.Message, e *envelope.Envelope) []smtp.Outcome {
	args := []string{b.Program, domain, e.Sender.String()}
	for _, r := range e.Recipients {
		args = append(args, r.String())
	}
	var said strings.Builder
	err := handoff.Command{Args: args, Deadline: remoteDeadline, Stdout: &said, OutputCap: maxReports}.Run(ctx, m, e)
	if err != nil {
		out := make([]smtp.Outcome, len(e.Recipients))
		for i := range out {
			out[i].Err = status.Of(err)
		}
		return out
	}
	return readReports(said.String(), len(e.Recipients))
}

// readReports makes outcomes of what the program printed, by the rules of qmail-rspawn: a recipient's own report goes first,
// and those who have none share the message's. Without that nothing is known, and all wait.
func readReports(text string, recipients int) []smtp.Outcome {
	var each []string
	whole := ""
	for report := range strings.SplitSeq(text, "\x00") {
		switch {
		case report == "":
		case strings.ContainsRune("rhs", rune(report[0])) && whole == "" && len(each) < recipients:
			each = append(each, report)
		case strings.ContainsRune("KZD", rune(report[0])) && whole == "":
			whole = report
		}
	}
	if whole == "" {
		whole = "ZThe program printed no report"
	}
	out := make([]smtp.Outcome, recipients)
	for i := range out {
		report := whole
		if i < len(each) && each[i][0] != 'r' {
			report = each[i]
		}
		out[i].Err = reported(report)
	}
	return out
}

// reported is a report as an error; the reply of a server is looked for in its text.
func reported(report string) *status.Error {
	text := strings.TrimSpace(report[1:])
	said := text
	if _, after, ok := strings.Cut(text, "Remote host said: "); ok {
		said, _, _ = strings.Cut(after, "\n")
	}
	kind := status.TempFail
	switch report[0] {
	case 'K', 'r':
		return nil
	case 'D', 'h':
		kind = status.HardFail
	}
	e := status.Errorf(kind, "%s", status.Escape(strings.ReplaceAll(text, "\n", " "), status.MaxText))
	if reply, ok := status.ParseLine(said); ok && reply.Class == e.Class {
		e.Code, e.Enhanced = reply.Code, reply.Enhanced
	}
	return e
}
