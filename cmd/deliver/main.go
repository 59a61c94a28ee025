// Command deliver puts the message on stdin into mailboxes. See deliver(1).
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/office"
	"pennypost/internal/cli/quota"
	"pennypost/internal/delivery"
	"pennypost/internal/envelope"
	"pennypost/internal/handoff"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

func main() {
	cmd := newCommand()
	os.Exit(leave(cmd, os.Args[1:], cli.Main(cmd)))
}

// options are the flags.
type options struct {
	office  func() (*postoffice.Office, error)
	home    string
	queue   string
	sender  string
	rules   rules
	maxSize int64
	verbose bool
	print   bool
	dryRun  bool
	explain bool
	json    bool
	exit    string
	preline bool
	sandbox string
	away    vacation
	full    quota.Flags
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "deliver --office DIR [-f SENDER] [RECIPIENT...]\n  deliver --home DIR [-f SENDER] [RECIPIENT]\n" +
			"  deliver --to TARGET... [-f SENDER] [RECIPIENT]",
		Short: "Put the message on stdin into mailboxes",
		Long: "Deliver puts the message on standard input into the mailboxes of its recipients, all or none, as\n" +
			"their instructions (dot-qmail(5)) say, and tells by its exit status whether it did (mailpipe(7)).",
		Example: "  deliver --office /srv/mail -f bob@example.net alice@example.org <message\n" +
			"  deliver --to maildir:$HOME/Maildir --if 'List-Id ~ golang' --folder Lists <message\n" +
			"  smtpd --office /srv/mail -- deliver --office /srv/mail",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, o, args) },
	}
	o.office = office.Flag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.home, "home", "", "deliver into the home directory `DIR`, as its .qmail or .forward says")
	f.StringVar(&o.queue, "queue", "", "forward through the queue `DIR` (default $MAIL_QUEUE, or queue in the office)")
	f.StringVarP(&o.sender, "from", "f", "", "the envelope's `SENDER`; '' and '<>' are the null sender (default $SENDER)")
	o.rules.flags(cmd)
	f.StringVar(&o.sandbox, "sandbox", "auto", "write only where mail goes, by Landlock: `WHEN`, auto (no commands are run), always or never")
	o.away.flags(f)
	o.full.Add(f)
	f.Int64Var(&o.maxSize, "max-size", 0, "refuse a message of more than `OCTETS` (default no limit)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print the path of each copy on stderr")
	f.BoolVar(&o.preline, "preline", false, "take off the lines that the caller put on top: Return-Path, Delivered-To, X-Original-To")
	f.BoolVar(&o.print, "print", false, "print the path of each copy on stdout")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "deliver nothing, print what would be done: recipient, kind, place")
	f.BoolVar(&o.explain, "explain", false, "deliver nothing, say in words what would be done and why")
	f.BoolVar(&o.json, "json", false, "with --dry-run or --explain, print JSON lines")
	f.StringVar(&o.exit, "exit", "", "exit as `HOW`: sysexits, mta for 75 when later, or qmail for 0, 100 and 111\n"+
		"(default qmail if DTLINE is set, mta if SENDER or MAIL_CONFIG is)")
	return cli.Mailpipe(cmd)
}

// run reads message and envelope and delivers.
func run(cmd *cobra.Command, o options, recipients []string) error {
	d, err := o.destination(cmd)
	if err != nil {
		return err
	}
	defer d.close()
	in := handoff.Input{Recipients: recipients, Max: o.maxSize}
	if cmd.Flags().Changed("from") {
		in.Sender = &o.sender
	}
	m, e, err := receive(cmd.Context(), in, o.preline)
	if err != nil {
		return err
	}
	defer m.Close()
	if d.find != nil && len(e.Recipients) == 0 {
		return cli.Usagef("no recipient: name one, or set RECIPIENT or RECIPIENTS")
	}
	if err := d.becomeOwner(e.Recipients); err != nil {
		return err
	}
	if o.dryRun || o.explain {
		return d.show(cmd, o, m, e)
	}
	d.opt.Placed = func(path string) {
		if o.verbose {
			fmt.Fprintln(cmd.ErrOrStderr(), path)
		}
		if o.print {
			fmt.Fprintln(cmd.OutOrStdout(), path)
		}
	}
	if d.find == nil {
		return delivery.ToTargets(cmd.Context(), d.targets, m, e, d.opt)
	}
	return delivery.Deliver(cmd.Context(), d.find, m, e, d.opt)
}

// receive is handoff.Receive that ends when the context does, although a read from a pipe cannot be called off.
func receive(ctx context.Context, in handoff.Input, preline bool) (*message.Message, *envelope.Envelope, error) {
	type received struct {
		m   *message.Message
		e   *envelope.Envelope
		err error
	}
	done := make(chan received, 1)
	go func() {
		m, e, err := handoff.Receive(in)
		if err == nil {
			m, err = withoutTop(m, preline)
		}
		done <- received{m, e, err}
	}()
	select {
	case r := <-done:
		return r.m, r.e, r.err
	case <-ctx.Done():
		return nil, nil, status.Errorf(status.TempFail, "interrupted while the message was read: %w", ctx.Err())
	}
}
