package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/signing"
	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// signOptions are the flags of sign.
type signOptions struct {
	domain, identifier, canon string
	selectors, keys           []string
	keyDir                    string
	optional, verbose         bool
	fields, oversign          []string
	expire                    time.Duration
	now                       func() (time.Time, error)
}

func newSign() *cobra.Command {
	var o signOptions
	cmd := &cobra.Command{
		Use:                   "sign {--domain DOMAIN --selector NAME --key FILE | --key-dir DIR} [FLAGS] [-- PROGRAM ARG...]",
		DisableFlagsInUseLine: true,
		Short:                 "Sign a message",
		Long: "Sign puts a DKIM-Signature field on top of the message on standard input, or one for each key when\n" +
			"--selector and --key are given more than once. With --key-dir it takes the keys from files\n" +
			"DIR/DOMAIN/SELECTOR.pem, where DOMAIN is that of the author.",
		Example: "  mailauth sign -d example.org -s mail -k mail.key <message\n" +
			"  mailauth sign -d example.org -s rsa -k rsa.key -s ed -k ed25519.key <message\n" +
			"  mailauth sign --key-dir /etc/dkim -- smtpsend -f alice@example.org bob@example.net <message",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "sign for `DOMAIN` (with --key-dir the default is the author's)")
	f.StringArrayVarP(&o.selectors, "selector", "s", nil, "the key is published under selector `NAME`; one for each --key, in their order")
	f.StringArrayVarP(&o.keys, "key", "k", nil, "read the private key from `FILE` (PEM; RSA or Ed25519); each further one signs too")
	f.StringVar(&o.keyDir, "key-dir", "", "take all keys `DIR`/DOMAIN/SELECTOR.pem of the author's domain, or the nearest above it")
	f.BoolVar(&o.optional, "optional", false, "with --key-dir: pass the message on as it is when there is no key for its author")
	f.StringVarP(&o.identifier, "identifier", "i", "", "name `USER@DOMAIN` as the one who signs")
	f.StringVarP(&o.canon, "canon", "c", "relaxed/relaxed", "canonicalise header and body by `HEADER/BODY`, each simple or relaxed")
	f.StringSliceVar(&o.fields, "fields", nil, "sign the header fields `NAME,...` (default a list of 30, see mailauth(1))")
	f.StringSliceVar(&o.oversign, "oversign", nil,
		"let no further field `NAME,...` be added (default "+strings.Join(dkim.DefaultOversign, ",")+")")
	f.DurationVarP(&o.expire, "expire", "x", 0, "let the signature end after `TIME`, such as 168h (default never)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell on standard error who signs, or why nobody does")
	o.now = signing.NowFlag(cmd)
	return cli.Mailpipe(cmd)
}

func (o *signOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	now, err := o.now()
	if err != nil {
		return err
	}
	if now.IsZero() {
		now = time.Now()
	}
	fixed, err := o.named()
	if err != nil {
		return err
	}
	say := func(string, ...any) {}
	if o.verbose {
		say = teller(cmd.ErrOrStderr())
	}
	return filter(cmd, args, func(_ context.Context, m *message.Message, _ *envelope.Envelope) (*message.Message, error) {
		all := fixed
		if o.keyDir != "" {
			if all, err = o.found(m); o.optional && errors.Is(err, signing.ErrNoKey) {
				say("not signed: %v", err)
				return m, nil
			}
			if err != nil {
				return nil, err
			}
		}
		for i := range all {
			if err := o.complete(cmd, &all[i], now); err != nil {
				return nil, err
			}
			say("signed for %s, selector %s, %s", all[i].Domain, all[i].Selector, dkim.Algorithm(all[i].Key.Public()))
		}
		return signing.Sign(m, all, now)
	})
}

// check finds contradictions between flags.
func (o *signOptions) check() error {
	switch {
	case o.keyDir != "" && len(o.keys)+len(o.selectors) > 0:
		return cli.Usagef("--key-dir tells selectors and keys: --selector and --key cannot be given too")
	case o.optional && o.keyDir == "":
		return cli.Usagef("--optional goes with --key-dir")
	case o.keyDir == "" && (o.domain == "" || len(o.selectors) == 0 || len(o.keys) == 0):
		return cli.Usagef("--domain, --selector and --key are needed, or --key-dir")
	case len(o.keys) != len(o.selectors):
		return cli.Usagef("%d --selector for %d --key", len(o.selectors), len(o.keys))
	case o.expire < 0 || o.expire > 0 && o.expire < time.Second:
		return cli.Usagef("--expire %v is too short", o.expire)
	}
	if _, _, ok := dkim.ParseCanon(o.canon); !ok {
		return cli.Usagef("unknown canonicalisation %q", o.canon)
	}
	return nil
}

// named reads the keys that the flags name.
func (o *signOptions) named() (all []dkim.SignOptions, err error) {
	for i, file := range o.keys {
		sign := dkim.SignOptions{Domain: o.domain, Selector: o.selectors[i], Identifier: o.identifier}
		if sign.Key, err = signing.ReadKey(file); err != nil {
			return nil, err
		}
		if err := sign.Check(); err != nil {
			return nil, cli.Usagef("%w", err)
		}
		all = append(all, sign)
	}
	return all, nil
}

// found takes the keys of the author's domain from the directory.
func (o *signOptions) found(m *message.Message) ([]dkim.SignOptions, error) {
	domain := o.domain
	if domain == "" {
		header, err := m.Header()
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		if domain, err = dmarc.Author(header.Fields); err != nil {
			return nil, status.Errorf(status.Data, "signing for the author: %w: %v", signing.ErrNoKey, err)
		}
	}
	return signing.KeyDir(o.keyDir).Find(domain)
}

// complete adds what the flags say of every signature.
func (o *signOptions) complete(cmd *cobra.Command, sign *dkim.SignOptions, now time.Time) error {
	sign.Header, sign.Body, _ = dkim.ParseCanon(o.canon)
	sign.Identifier = o.identifier
	if cmd.Flags().Changed("fields") {
		sign.Fields = append([]string{}, o.fields...)
	}
	if cmd.Flags().Changed("oversign") {
		sign.Oversign = append([]string{}, o.oversign...)
	}
	if o.expire > 0 {
		sign.Expires = now.Add(o.expire)
	}
	if err := sign.Check(); err != nil {
		return cli.Usagef("%w", err)
	}
	return nil
}
