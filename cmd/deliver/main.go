// Command deliver puts the message on stdin into mailboxes. See deliver(1).
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/office"
	"pennypost/internal/delivery"
	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

func main() { os.Exit(cli.Main(newCommand())) }

// options are the flags.
type options struct {
	office  func() (*postoffice.Office, error)
	sender  string
	to      []string
	maxSize int64
	verbose bool
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "deliver --office DIR [-f SENDER] [RECIPIENT...]\n  deliver --to TARGET... [-f SENDER] [RECIPIENT]",
		Short: "Put the message on stdin into mailboxes",
		Long: "Deliver puts the message on standard input into the mailboxes of its recipients, all or none, and\n" +
			"tells by its exit status whether it did (mailpipe(7)).",
		Example: "  deliver --office /srv/mail -f bob@example.net alice@example.org <message\n" +
			"  deliver --to maildir:$HOME/Maildir <message\n" +
			"  smtpd --office /srv/mail -- deliver --office /srv/mail",
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, args []string) error { return run(cmd, o, args) },
	}
	o.office = office.Flag(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.sender, "from", "f", "", "the envelope's `SENDER`; '' and '<>' are the null sender (default $SENDER)")
	f.StringArrayVar(&o.to, "to", nil, "deliver to `TARGET`, maildir:PATH or mbox:PATH, instead of an office (repeatable)")
	f.Int64Var(&o.maxSize, "max-size", 0, "refuse a message of more than `OCTETS` (default no limit)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print the path of each copy on stderr")
	return cli.Mailpipe(cmd)
}

// run reads message and envelope and delivers.
func run(cmd *cobra.Command, o options, recipients []string) error {
	targets, err := o.targets(cmd)
	if err != nil {
		return err
	}
	in := handoff.Input{Recipients: recipients, Max: o.maxSize}
	if cmd.Flags().Changed("from") {
		in.Sender = &o.sender
	}
	var off *postoffice.Office
	if len(targets) == 0 {
		if off, err = o.office(); err != nil {
			return err
		}
		defer off.Close()
	}
	m, e, err := receive(cmd.Context(), in)
	if err != nil {
		return err
	}
	defer m.Close()
	var opt delivery.Options
	if o.verbose {
		opt.Placed = func(path string) { fmt.Fprintln(cmd.ErrOrStderr(), path) }
	}
	if off == nil {
		return delivery.ToTargets(cmd.Context(), targets, m, e, opt)
	}
	if len(e.Recipients) == 0 {
		return cli.Usagef("no recipient: name one, or set RECIPIENT or RECIPIENTS")
	}
	return delivery.Deliver(cmd.Context(), off, m, e, opt)
}

// receive is handoff.Receive that ends when the context does, although a read from a pipe cannot be called off.
func receive(ctx context.Context, in handoff.Input) (*message.Message, *envelope.Envelope, error) {
	type received struct {
		m   *message.Message
		e   *envelope.Envelope
		err error
	}
	done := make(chan received, 1)
	go func() {
		m, e, err := handoff.Receive(in)
		done <- received{m, e, err}
	}()
	select {
	case r := <-done:
		return r.m, r.e, r.err
	case <-ctx.Done():
		return nil, nil, status.Errorf(status.TempFail, "interrupted while the message was read: %w", ctx.Err())
	}
}

// targets reads --to, and refuses what cannot go with it.
func (o *options) targets(cmd *cobra.Command) ([]delivery.Target, error) {
	if o.maxSize < 0 {
		return nil, cli.Usagef("--max-size must not be negative")
	}
	if len(o.to) > 0 && cmd.Flags().Changed("office") {
		return nil, cli.Usagef("--office and --to do not go together")
	}
	var targets []delivery.Target
	for _, s := range o.to {
		t, err := delivery.ParseTarget(s)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}
