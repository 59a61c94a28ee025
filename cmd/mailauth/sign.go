package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/signing"
	"pennypost/internal/dkim"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
)

// signOptions are the flags of sign.
type signOptions struct {
	domain, selector, identifier string
	key, canon                   string
	fields, oversign             []string
	expire                       time.Duration
}

func newSign() *cobra.Command {
	var o signOptions
	cmd := &cobra.Command{
		Use:                   "sign --domain DOMAIN --selector NAME --key FILE [FLAGS] [-- PROGRAM ARG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Sign a message",
		Long:                  "Sign puts a DKIM-Signature field on top of the message on standard input.",
		Example: "  mailauth sign -d example.org -s mail -k mail.key <message\n" +
			"  mailauth sign -d example.org -s mail -k mail.key -- smtpsend -f alice@example.org bob@example.net <message",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "sign for `DOMAIN`")
	f.StringVarP(&o.selector, "selector", "s", "", "the key is published under selector `NAME`")
	f.StringVarP(&o.key, "key", "k", "", "read the private key from `FILE` (PEM; RSA or Ed25519)")
	f.StringVarP(&o.identifier, "identifier", "i", "", "name `USER@DOMAIN` as the one who signs")
	f.StringVarP(&o.canon, "canon", "c", "relaxed/relaxed", "canonicalise header and body by `HEADER/BODY`, each simple or relaxed")
	f.StringSliceVar(&o.fields, "fields", nil, "sign the header fields `NAME,...` (default a list of 30, see mailauth(1))")
	f.StringSliceVar(&o.oversign, "oversign", []string{"From"}, "let no further field `NAME,...` be added")
	f.DurationVarP(&o.expire, "expire", "x", 0, "let the signature end after `TIME`, such as 168h (default never)")
	return cli.Mailpipe(cmd)
}

func (o *signOptions) run(cmd *cobra.Command, args []string) error {
	sign, err := o.complete(cmd)
	if err != nil {
		return err
	}
	return filter(cmd, args, func(_ context.Context, m *message.Message, _ *envelope.Envelope) (*message.Message, error) {
		field, err := dkim.Sign(m, sign)
		if err != nil {
			return nil, fmt.Errorf("signing for %q: %w", o.domain, err)
		}
		return dkim.Prepend(m, field), nil
	})
}

// complete makes options for signing out of flags.
func (o *signOptions) complete(cmd *cobra.Command) (dkim.SignOptions, error) {
	sign := dkim.SignOptions{Domain: o.domain, Selector: o.selector, Identifier: o.identifier, Time: time.Now()}
	if o.domain == "" || o.selector == "" || o.key == "" {
		return sign, cli.Usagef("--domain, --selector and --key are needed")
	}
	var ok bool
	if sign.Header, sign.Body, ok = dkim.ParseCanon(o.canon); !ok {
		return sign, cli.Usagef("unknown canonicalisation %q", o.canon)
	}
	if cmd.Flags().Changed("fields") {
		sign.Fields = append([]string{}, o.fields...)
	}
	sign.Oversign = append([]string{}, o.oversign...)
	if o.expire < 0 || o.expire > 0 && o.expire < time.Second {
		return sign, cli.Usagef("--expire %v is too short", o.expire)
	}
	if o.expire > 0 {
		sign.Expires = sign.Time.Add(o.expire)
	}
	var err error
	if sign.Key, err = signing.ReadKey(o.key); err != nil {
		return sign, err
	}
	if err := sign.Check(); err != nil {
		return sign, cli.Usagef("%w", err)
	}
	return sign, nil
}
