package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/relay"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

const maxName = 4096 // bytes of a file's name, as Linux has it

// checkMessages refuses what --messages does not go with.
func (o *options) checkMessages() error {
	switch {
	case o.messages == "":
		return nil
	case o.message != "":
		return cli.Usagef("--messages and --message do not go together")
	case o.debug != (debugOptions{}):
		return cli.Usagef("--stop-after, --drop-after and --dump are for one message, not for --messages")
	case o.reportForm == "qmail":
		return cli.Usagef("--report qmail is about one message, not for --messages")
	}
	return nil
}

// sendAll sends the message in each file that --messages names, one after the other over connections that are kept, and
// reports on each at once. One that fails does not end it: the others go all the same.
func (o *options) sendAll(cmd *cobra.Command, s *sender, recipients []string) error {
	in := cmd.InOrStdin()
	if o.messages != "-" {
		f, err := os.Open(o.messages)
		if err != nil {
			return status.Errorf(status.NoInput, "read the names of messages: %w", err)
		}
		defer f.Close()
		in = f
	}
	// There is one thing to do at a time: handing it from thread to thread costs a fifth more time, and half as much again of the processor.
	runtime.GOMAXPROCS(1)
	var all verdict
	names := bufio.NewScanner(in)
	names.Buffer(nil, maxName+1)
	for names.Scan() {
		if s.name = names.Text(); s.name == "" {
			continue
		}
		if err := cmd.Context().Err(); err != nil {
			all.add(status.Escape(s.name, maxAddress), status.Errorf(status.TempFail, "not sent: %w", err))
			break
		}
		err := o.sendFile(cmd, s, recipients)
		if err != nil && status.Of(err).Exit == int(status.Usage) {
			return err // so it would be with every message
		}
		all.add(status.Escape(s.name, maxAddress), asError(err))
	}
	switch err := names.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return status.Errorf(status.NoInput, "read the names of messages in %q: one is longer than %d bytes", o.messages, maxName)
	case err != nil:
		return status.Errorf(status.NoInput, "read the names of messages in %q: %w", o.messages, err)
	}
	if all.all == 0 {
		return status.Errorf(status.NoInput, "no messages are named in %q", o.messages)
	}
	return all.err("messages")
}

// asError is nil for nil.
func asError(err error) *status.Error {
	if err == nil {
		return nil
	}
	return status.Of(err)
}

// sendFile sends the message in the file s.name and reports.
func (o *options) sendFile(cmd *cobra.Command, s *sender, recipients []string) error {
	m, e, f, err := o.takeFile(s.name, recipients)
	if err != nil {
		if status.Of(err).Exit != int(status.Usage) {
			s.reportUnread(cmd.OutOrStdout(), o.reportForm, status.Of(err))
		}
		return err
	}
	defer f.Close()
	defer m.Close()
	s.envelope = e
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	s.send(ctx, m)
	s.report(cmd.OutOrStdout(), o.reportForm)
	return s.verdict()
}

// takeFile is take from a file, which the caller closes after the message.
func (o *options) takeFile(name string, recipients []string) (*message.Message, *envelope.Envelope, *os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, nil, status.Errorf(status.NoInput, "read the message: %w", err)
	}
	m, e, err := o.take(handoff.Input{Stdin: f, Recipients: recipients})
	if err != nil {
		f.Close()
		return nil, nil, nil, err
	}
	return m, e, f, nil
}

// reportUnread is the line for a message that could not be read.
func (s *sender) reportUnread(w io.Writer, form string, e *status.Error) {
	fate := letter(relay.Outcome{Outcome: smtp.Outcome{Err: e}})
	if form == "json" {
		line := jsonReport{Fate: fate, Code: e.Code, Enhanced: e.Enhanced, Text: e.Text, Message: s.name}
		line.write(w)
		return
	}
	fmt.Fprintf(w, "%s\t-\t-\t%s%s\n", fate, e.Line(), s.nameField())
}

// nameField is the last field of a line of the report, with --messages.
func (s *sender) nameField() string {
	if s.name == "" {
		return ""
	}
	return "\t" + status.Escape(s.name, maxName)
}
