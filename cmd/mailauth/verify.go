package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/dkim"
	"pennypost/internal/envelope"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	ids           []string
	verbose, json bool
	dns           func() (*resolver.Resolver, error)
}

func newVerify() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:                   "verify [FLAGS] [-- PROGRAM ARG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Check a message and put the results on top",
		Long: "Verify checks the DKIM signatures of the message on standard input, puts an\n" +
			"Authentication-Results field on top of it, and takes out the fields that only pretend to be ours.",
		Example: "  mailauth verify --authserv-id mx.example.org <message\n" +
			"  mailauth verify -- deliver --office /srv/mail",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.ids, "authserv-id", nil, "write results as `NAME` and remove those that claim it; further ones are only removed (default the host name)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "explain the results on standard error")
	f.BoolVar(&o.json, "json", false, "explain the results on standard error as JSON lines")
	o.dns = dnsflags.Recorded(cmd)
	return cli.Mailpipe(cmd)
}

func (o *verifyOptions) run(cmd *cobra.Command, args []string) error {
	if len(o.ids) == 0 {
		host, err := os.Hostname()
		if err != nil {
			return status.Errorf(status.OSErr, "finding the host name: %w", err)
		}
		o.ids = []string{host}
	}
	for _, id := range o.ids {
		if !isID(id) {
			return cli.Usagef("--authserv-id %q is not a name", id)
		}
	}
	dns, err := setUp(o.dns)
	if err != nil {
		return err
	}
	lookup := func(ctx context.Context, name string) ([]string, error) {
		answer, err := dns.TXT(ctx, name)
		return answer.Records, err
	}
	return filter(cmd, args, func(ctx context.Context, m *message.Message, _ *envelope.Envelope) (*message.Message, error) {
		checked, report, err := mailauth.Verify(ctx, m, mailauth.Options{IDs: o.ids, DKIM: dkim.VerifyOptions{LookupTXT: lookup, Now: dns.Now()}})
		if err != nil {
			return nil, fmt.Errorf("checking the message: %w", err)
		}
		// Before the next program runs, so that the last line is its own.
		if o.json {
			return checked, explainJSON(cmd.ErrOrStderr(), report)
		}
		if o.verbose {
			explain(cmd.ErrOrStderr(), report)
		}
		return checked, nil
	})
}

func isID(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7F || strings.ContainsRune(`();"\`, r) })
}
