package main

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/arc"
	"pennypost/internal/cli"
	"pennypost/internal/cli/signing"
	"pennypost/internal/dkim"
	"pennypost/internal/envelope"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// sealOptions are the flags of seal.
type sealOptions struct {
	checkFlags
	domain, selector, key, keyDir string
	recorded, verbose             bool
	fields, oversign              []string
	now                           func() (time.Time, error)
}

func newSeal() *cobra.Command {
	var o sealOptions
	cmd := &cobra.Command{
		Use:                   "seal --domain DOMAIN {--selector NAME --key FILE | --key-dir DIR} [FLAGS] [-- PROGRAM ARG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Seal a message that is handed on",
		Long: "Seal checks the message on standard input as verify does, and puts a set of three fields on top of it,\n" +
			"which tell those who get it from here what the check found: its Authenticated Received Chain gets longer\n" +
			"by one.",
		Example: "  mailauth seal -d example.org -s mail -k mail.key -- smtpsend -f '' bob@example.net <message\n" +
			"  mailauth verify -- add-footer -- mailauth seal --recorded -d example.org -s mail -k mail.key <message",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "seal for `DOMAIN`")
	f.StringVarP(&o.selector, "selector", "s", "", "the key is published under selector `NAME`")
	f.StringVarP(&o.key, "key", "k", "", "read the private key from `FILE` (PEM; RSA or Ed25519)")
	f.StringVar(&o.keyDir, "key-dir", "", "take a key `DIR`/DOMAIN/SELECTOR.pem, an RSA key if there is one")
	f.StringArrayVar(&o.ids, "authserv-id", nil, "the results are of `NAME` (default the host name)")
	f.BoolVar(&o.recorded, "recorded", false, "take the results that verify wrote before the message was changed, without a check")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell on standard error what the seal says, or why there is none")
	f.StringSliceVar(&o.fields, "fields", nil, "sign the header fields `NAME,...` (default those of sign, and DKIM-Signature)")
	f.StringSliceVar(&o.oversign, "oversign", nil, "let no further field `NAME,...` be added (default as sign)")
	o.now = signing.NowFlag(cmd)
	o.addSession(cmd)
	return cli.Mailpipe(cmd)
}

func (o *sealOptions) run(cmd *cobra.Command, args []string) error {
	seal, err := o.complete(cmd)
	if err != nil {
		return err
	}
	options, err := o.options()
	if err != nil {
		return err
	}
	if seal.Sign.Time.IsZero() {
		seal.Sign.Time = options.Now
	}
	return filter(cmd, args, func(ctx context.Context, m *message.Message, e *envelope.Envelope) (*message.Message, error) {
		if err := o.session(e, &options); err != nil {
			return nil, err
		}
		if err := o.find(ctx, m, options, &seal); err != nil {
			return nil, err
		}
		return o.seal(m, seal, cmd.ErrOrStderr())
	})
}

// complete makes options for a seal out of flags.
func (o *sealOptions) complete(cmd *cobra.Command) (seal arc.SealOptions, err error) {
	switch {
	case o.keyDir != "" && o.key != "":
		return seal, cli.Usagef("--key and --key-dir cannot be given both")
	case o.domain == "" || o.keyDir == "" && (o.selector == "" || o.key == ""):
		return seal, cli.Usagef("--domain, --selector and --key are needed, or --domain and --key-dir")
	}
	if seal.Sign, err = o.signer(); err != nil {
		return seal, err
	}
	if seal.Sign.Time, err = o.now(); err != nil {
		return seal, err
	}
	if cmd.Flags().Changed("fields") {
		seal.Sign.Fields = append([]string{}, o.fields...)
	}
	if cmd.Flags().Changed("oversign") {
		seal.Sign.Oversign = append([]string{}, o.oversign...)
	}
	if err := seal.Check(); err != nil {
		return seal, cli.Usagef("%w", err)
	}
	return seal, nil
}

// signer is who seals. There is one signature in a set, so of several keys it takes RSA, which everybody knows.
func (o *sealOptions) signer() (sign dkim.SignOptions, err error) {
	if o.keyDir == "" {
		sign = dkim.SignOptions{Domain: o.domain, Selector: o.selector}
		sign.Key, err = signing.ReadKey(o.key)
		return sign, err
	}
	all, err := signing.KeyDir(o.keyDir).Find(o.domain)
	if err != nil {
		return sign, err
	}
	for _, s := range all {
		_, isRSA := s.Key.Public().(*rsa.PublicKey)
		switch {
		case o.selector != "" && s.Selector != o.selector:
		case o.selector != "" || isRSA:
			return s, nil
		case sign.Key == nil:
			sign = s
		}
	}
	if sign.Key == nil {
		return sign, status.Errorf(status.Config, "there is no key of %q with selector %q in %q", o.domain, o.selector, o.keyDir)
	}
	return sign, nil
}

// find finds out what the seal is to say.
func (o *sealOptions) find(ctx context.Context, m *message.Message, options mailauth.Options, seal *arc.SealOptions) error {
	find := o.check
	if o.recorded {
		find = o.recall
	}
	chain, results, err := find(ctx, m, options)
	if err != nil {
		return fmt.Errorf("checking the message: %w", err)
	}
	if chain.Temporary {
		// RFC 8617 section 5.2.1 has it fail, for everybody and for ever. In a pipe there is another way.
		return status.Errorf(status.TempFail, "checking the chain of the message: %s", status.Escape(chain.Reason, maxLine))
	}
	seal.Chain, seal.Results = chain, results.Payload()
	return nil
}

func (o *sealOptions) check(ctx context.Context, m *message.Message, with mailauth.Options) (*arc.Report,
	*mailauth.AuthRes, error,
) {
	_, r, err := mailauth.Verify(ctx, m, with)
	if err != nil {
		return nil, nil, err
	}
	return r.ARC, r.Sealed(with.Session), nil
}

// recall takes from the message what a check has written into it.
func (o *sealOptions) recall(ctx context.Context, m *message.Message, with mailauth.Options) (*arc.Report,
	*mailauth.AuthRes, error,
) {
	results, err := mailauth.Recorded(m, with.IDs[0])
	if err != nil {
		return nil, nil, err
	}
	chain, err := arc.Verify(ctx, m, dkim.VerifyOptions{LookupTXT: mailauth.LookupTXT(with.Resolver), Now: with.Now})
	if err != nil {
		return nil, nil, err
	}
	return chain.Arrived(mailauth.RecordedARC(results)), results, nil
}

// seal puts the set on top, if the chain takes one more.
func (o *sealOptions) seal(m *message.Message, seal arc.SealOptions, w io.Writer) (*message.Message, error) {
	say := func(string, ...any) {}
	if o.verbose {
		say = teller(w)
	}
	set, err := arc.Seal(m, seal)
	switch {
	case errors.Is(err, arc.ErrClosed), errors.Is(err, arc.ErrFull):
		say("arc: not sealed: %v", err)
		return m, nil
	case err != nil:
		return nil, fmt.Errorf("sealing for %q: %w", o.domain, err)
	}
	say("arc: set %d says cv=%s; %s", seal.Chain.Instances+1, seal.Chain.Result, strings.Join(strings.Fields(seal.Results), " "))
	return dkim.Prepend(m, set), nil
}
