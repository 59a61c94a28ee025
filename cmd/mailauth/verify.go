package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/envelope"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	checkFlags
	verbose, json bool
	receivedSPF   bool
	enforce       mailauth.Enforcement
}

func newVerify() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:                   "verify [FLAGS] [-- PROGRAM ARG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Check a message and put the results on top",
		Long: "Verify checks the message on standard input by SPF, DKIM and DMARC, puts an Authentication-Results field\n" +
			"on top of it, and takes out the fields that only pretend to be ours. What the session was like, it takes from\n" +
			"the environment (TCPREMOTEIP, HELO, SENDER) or from flags.",
		Example: "  mailauth verify --ip 192.0.2.1 --helo mail.example.org --from alice@example.org <message\n" +
			"  smtpd --office /srv/mail -- mailauth verify --enforce -- deliver --office /srv/mail",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	o.add(cmd)
	f.BoolVar(&o.receivedSPF, "received-spf", false, "put a Received-SPF field below the results")
	f.BoolVar(&o.enforce.DMARC, "enforce", false, "refuse (exit 77) or mark for quarantine what fails DMARC, as its policy wants")
	f.BoolVar(&o.enforce.TempError, "enforce-temperror", false, "with --enforce: put off what DMARC cannot check now (exit 75)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "explain the results on standard error")
	f.BoolVar(&o.json, "json", false, "explain the results on standard error as JSON lines")
	return cli.Mailpipe(cmd)
}

func (o *verifyOptions) run(cmd *cobra.Command, args []string) error {
	if o.enforce.TempError && !o.enforce.DMARC {
		return cli.Usagef("--enforce-temperror needs --enforce")
	}
	options, err := o.options()
	if err != nil {
		return err
	}
	options.ReceivedSPF, options.Whole = o.receivedSPF, o.verbose || o.json
	return filter(cmd, args, func(ctx context.Context, m *message.Message, e *envelope.Envelope) (*message.Message, error) {
		if err := o.session(e, &options); err != nil {
			return nil, err
		}
		checked, report, err := mailauth.Verify(ctx, m, options)
		if err != nil {
			return nil, fmt.Errorf("checking the message: %w", err)
		}
		// Before the next program runs, so that the last line is its own.
		if err := o.explain(cmd.ErrOrStderr(), m, report, options); err != nil {
			return nil, err
		}
		if err := o.enforce.Apply(report, e); err != nil {
			return nil, err
		}
		return checked, o.demand(report)
	})
}

func (o *verifyOptions) explain(w io.Writer, m *message.Message, r *mailauth.Report, options mailauth.Options) error {
	write := writeSteps
	switch {
	case o.json:
		write = writeJSON
	case !o.verbose:
		return nil
	}
	steps, err := stepsOf(m, r, options)
	if err != nil {
		return err
	}
	return write(w, steps)
}

// demand is nil when the message is as --require says, and the refusal otherwise.
func (o *verifyOptions) demand(r *mailauth.Report) error {
	if o.require.Requirement == nil {
		return nil
	}
	switch o.require.Holds(r) {
	case mailauth.True:
		return nil
	case mailauth.Unknown:
		return status.Errorf(status.TempFail, "the message cannot be checked now").WithReply(451, "4.7.0")
	}
	return status.Errorf(status.NoPerm, "the message is not authenticated as this host requires")
}
