// Command smtpsend sends the message on stdin by SMTP or LMTP. See smtpsend(1).
package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/handoff"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

func main() {
	if name := filepath.Base(os.Args[0]); slices.Contains(sendmailNames, name) {
		os.Exit(sendmailMain(name, os.Args[1:]))
	}
	os.Exit(cli.Main(newCommand()))
}

// options are the flags.
type options struct {
	from, server, pipe            string
	helo, routes, message         string
	stsCache                      string
	port                          int
	timeout                       time.Duration
	verbose                       bool
	login                         loginOptions
	tls                           tlsOptions
	network                       networkOptions
	wire                          wireOptions
	resolver                      func() (*resolver.Resolver, error)
	fromSet, portSet, resolverSet bool
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "smtpsend [FLAGS] [-f SENDER] [--server URL | --pipe COMMAND | --routes FILE] [RECIPIENT...]",
		Short: "Send the message on stdin by SMTP",
		Long: "Smtpsend sends the message on standard input to a server, to a command that speaks SMTP on its standard\n" +
			"input and output, or to the mail exchangers of the recipients' domains. It prints a line for each recipient\n" +
			"and exits 0 when all were taken (mailpipe(7)).",
		Example: "  smtpsend -f me@example.org you@example.net <message\n" +
			"  smtpsend -v --server smtp+tls://mail.example.net:587 --user me --password-file ~/.pass you@example.com <message\n" +
			"  smtpsend --pipe 'smtpd --office /srv/mail' you@example.net <message\n" +
			"  mx --routes example.net | grep -v backup | smtpsend --routes - --message letter you@example.net",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			changed := cmd.Flags().Changed
			o.fromSet, o.portSet = changed("from"), changed("port")
			o.resolverSet = changed("resolver") || changed("zone") || os.Getenv("MAIL_RESOLVER") != ""
			return run(cmd, o, args)
		},
	}
	o.resolver = dnsflags.Flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.from, "from", "f", "", "envelope sender, `SENDER`; '' and '<>' are the null sender (default $SENDER)")
	f.StringVar(&o.server, "server", "", "send to `URL`: smtp, smtp+tls, smtp+notls, smtps or lmtp://HOST[:PORT], lmtp+unix:///PATH")
	f.StringVar(&o.pipe, "pipe", "", "speak SMTP with `COMMAND`, run by /bin/sh")
	f.StringVar(&o.routes, "routes", "", "go by the table of mx --routes in `FILE`, - for standard input (then with --message)")
	f.StringVar(&o.message, "message", "", "send the message in `FILE` instead of standard input")
	f.StringVar(&o.stsCache, "sts-cache", "", "keep MTA-STS policies in the directory `DIR`")
	f.IntVar(&o.port, "port", 25, "connect to `PORT` of the mail exchangers")
	f.StringVar(&o.helo, "helo", "", "our `NAME` in EHLO (default the host's name, or its address)")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "give up after `TIME` in all")
	o.tls.flags(f)
	o.network.flags(f)
	o.wire.flags(f)
	o.login.flags(f)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print the dialogue on stderr")
	return cli.Mailpipe(cmd)
}

// run takes message and envelope, sends, reports.
func run(cmd *cobra.Command, o options, recipients []string) error {
	s, err := newSender(cmd.Context(), cmd, o)
	if err != nil {
		return err
	}
	defer s.done()
	in := handoff.Input{Recipients: recipients}
	if o.message != "" {
		if in.Stdin, err = os.Open(o.message); err != nil {
			return status.Errorf(status.NoInput, "read the message: %w", err)
		}
		defer in.Stdin.Close()
	}
	if o.fromSet {
		in.Sender = &o.from
	}
	m, e, err := handoff.Receive(in)
	if err != nil {
		return err
	}
	defer m.Close()
	if len(e.Recipients) == 0 {
		return cli.Usagef("no recipient: name one, or set RECIPIENT or RECIPIENTS")
	}
	o.wire.ask(e)
	s.envelope = e
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	s.send(ctx, m)
	// The exit status is the contract; a report that nobody reads changes no fate.
	s.report(cmd.OutOrStdout())
	return s.verdict()
}
