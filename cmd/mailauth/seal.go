package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/arc"
	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/cli/signing"
	"pennypost/internal/dkim"
	"pennypost/internal/envelope"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

// sealOptions are the flags of seal.
type sealOptions struct {
	domain, selector, key string
	id                    string
	recorded, verbose     bool
	fields, oversign      []string
	now                   func() (time.Time, error)
	dns                   func() (*resolver.Resolver, error)
}

func newSeal() *cobra.Command {
	var o sealOptions
	cmd := &cobra.Command{
		Use:                   "seal --domain DOMAIN --selector NAME --key FILE [FLAGS] [-- PROGRAM ARG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Seal a message that is handed on",
		Long: "Seal checks the message on standard input and puts a set of three fields on top of it, which tell\n" +
			"those who get it from here what the check found: its Authenticated Received Chain gets longer by one.",
		Example: "  mailauth seal -d example.org -s mail -k mail.key -- smtpsend -f '' bob@example.net <message\n" +
			"  mailauth verify -- add-footer -- mailauth seal --recorded -d example.org -s mail -k mail.key <message",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "seal for `DOMAIN`")
	f.StringVarP(&o.selector, "selector", "s", "", "the key is published under selector `NAME`")
	f.StringVarP(&o.key, "key", "k", "", "read the private key from `FILE` (PEM; RSA or Ed25519)")
	f.StringVar(&o.id, "authserv-id", "", "the results are of `NAME` (default the host name)")
	f.BoolVar(&o.recorded, "recorded", false, "take the results that verify wrote before the message was changed, and do not check it")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell on standard error what the seal says, or why there is none")
	f.StringSliceVar(&o.fields, "fields", nil, "sign the header fields `NAME,...` (default those of sign, and DKIM-Signature)")
	f.StringSliceVar(&o.oversign, "oversign", []string{"From"}, "let no further field `NAME,...` be added")
	o.now = signing.NowFlag(cmd)
	o.dns = dnsflags.Flags(cmd)
	return cli.Mailpipe(cmd)
}

func (o *sealOptions) run(cmd *cobra.Command, args []string) error {
	seal, err := o.complete(cmd)
	if err != nil {
		return err
	}
	dns, err := o.dns()
	if err != nil {
		return status.Errorf(status.Config, "setting up DNS: %w", err)
	}
	say := func(format string, a ...any) {
		if o.verbose {
			fmt.Fprintln(cmd.ErrOrStderr(), status.Escape(fmt.Sprintf("arc: "+format, a...), maxLine))
		}
	}
	return filter(cmd, args, func(ctx context.Context, m *message.Message, _ *envelope.Envelope) (*message.Message, error) {
		if err := o.check(ctx, m, dns, &seal); err != nil {
			return nil, err
		}
		set, err := arc.Seal(m, seal)
		switch {
		case errors.Is(err, arc.ErrClosed), errors.Is(err, arc.ErrFull):
			say("not sealed: %v", err)
			return m, nil
		case err != nil:
			return nil, fmt.Errorf("sealing for %q: %w", o.domain, err)
		}
		say("set %d says cv=%s; %s", seal.Chain.Instances+1, seal.Chain.Result, strings.Join(strings.Fields(seal.Results), " "))
		return dkim.Prepend(m, set), nil
	})
}

// complete makes options for a seal out of flags.
func (o *sealOptions) complete(cmd *cobra.Command) (arc.SealOptions, error) {
	seal := arc.SealOptions{Sign: dkim.SignOptions{Domain: o.domain, Selector: o.selector}}
	if o.domain == "" || o.selector == "" || o.key == "" {
		return seal, cli.Usagef("--domain, --selector and --key are needed")
	}
	if o.id == "" {
		host, err := os.Hostname()
		if err != nil {
			return seal, status.Errorf(status.OSErr, "finding the host name: %w", err)
		}
		o.id = host
	}
	if !isID(o.id) {
		return seal, cli.Usagef("--authserv-id %q is not a name", o.id)
	}
	if cmd.Flags().Changed("fields") {
		seal.Sign.Fields = append([]string{}, o.fields...)
	}
	seal.Sign.Oversign = append([]string{}, o.oversign...)
	var err error
	if seal.Sign.Time, err = o.now(); err != nil {
		return seal, err
	}
	if seal.Sign.Key, err = signing.ReadKey(o.key); err != nil {
		return seal, err
	}
	if err := seal.Check(); err != nil {
		return seal, cli.Usagef("%w", err)
	}
	return seal, nil
}

// check finds out what the seal is to say.
func (o *sealOptions) check(ctx context.Context, m *message.Message, dns *resolver.Resolver, seal *arc.SealOptions) error {
	keys := dkim.VerifyOptions{LookupTXT: lookupTXT(dns), Now: seal.Sign.Time}
	chain, err := arc.Verify(ctx, m, keys)
	if err != nil {
		return fmt.Errorf("checking the message: %w", err)
	}
	var results *mailauth.AuthRes
	if o.recorded {
		if results, err = mailauth.Recorded(m, o.id); err != nil {
			return err
		}
		chain = chain.Arrived(mailauth.RecordedARC(results))
	} else {
		_, report, err := mailauth.Verify(ctx, m, mailauth.Options{IDs: []string{o.id}, DKIM: keys})
		if err != nil {
			return fmt.Errorf("checking the message: %w", err)
		}
		results = &report.Field
	}
	if chain.Temporary {
		// RFC 8617 section 5.2.1 has it fail, for everybody and for ever. In a pipe there is another way.
		return status.Errorf(status.TempFail, "checking the chain of the message: %s", status.Escape(chain.Reason, maxLine))
	}
	seal.Chain, seal.Results = chain, results.Payload()
	return nil
}
