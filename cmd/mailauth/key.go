package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/cli/signing"
	"pennypost/internal/dkim"
	"pennypost/internal/mailauth"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

// keyOptions are the flags of key check.
type keyOptions struct {
	domain, selector, key, keyDir string
	dns                           func() (*resolver.Resolver, error)
}

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "key check",
		DisableFlagsInUseLine: true,
		Short:                 "Look after keys: key check compares private and published",
		Long:                  "Key has one command: check.",
		Example:               "  mailauth key check -d example.org -s mail -k mail.key",
		Args:                  cobra.NoArgs,
		RunE:                  func(*cobra.Command, []string) error { return cli.Usagef("a command is wanted: key check") },
	}
	cmd.AddCommand(newKeyCheck())
	return cmd
}

func newKeyCheck() *cobra.Command {
	var o keyOptions
	cmd := &cobra.Command{
		Use:                   "check {--domain DOMAIN --selector NAME --key FILE | --key-dir DIR} [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Compare private keys with what is published",
		Long: "Check fetches the key record of each private key and tells whether it is the other half. The answer\n" +
			"is a line for each key: result, name of the record and reason, with tabs between; the exit status\n" +
			"tells the worst of the results.",
		Example: "  mailauth key check -d example.org -s mail -k mail.key\n" +
			"  mailauth key check --key-dir /etc/dkim",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "the key is of `DOMAIN`")
	f.StringVarP(&o.selector, "selector", "s", "", "the key is published under selector `NAME`")
	f.StringVarP(&o.key, "key", "k", "", "read the private key from `FILE`")
	f.StringVar(&o.keyDir, "key-dir", "", "check all keys `DIR`/DOMAIN/SELECTOR.pem")
	o.dns = dnsflags.Flags(cmd)
	return cmd
}

func (o *keyOptions) run(cmd *cobra.Command) error {
	keys, err := o.keys()
	if err != nil {
		return err
	}
	dns, err := setUp(o.dns)
	if err != nil {
		return err
	}
	v := &dkim.VerifyOptions{LookupTXT: mailauth.LookupTXT(dns)}
	worst := "pass"
	for _, k := range keys {
		result, reason := compare(cmd.Context(), v, k)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		name := dkim.Query(k.Selector, k.Domain)
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\n", result, name, status.Escape(reason, maxLine)); err != nil {
			return status.Errorf(status.IO, "writing the result: %w", err)
		}
		if exits[result] > exits[worst] {
			worst = result
		}
	}
	return answer(worst)
}

// keys are the private keys to check.
func (o *keyOptions) keys() ([]dkim.SignOptions, error) {
	if o.keyDir != "" {
		if o.domain+o.selector+o.key != "" {
			return nil, cli.Usagef("--key-dir tells domains, selectors and keys")
		}
		all, err := signing.KeyDir(o.keyDir).All()
		if err == nil && len(all) == 0 {
			err = status.Errorf(status.Config, "no key in %q", o.keyDir)
		}
		return all, err
	}
	if o.domain == "" || o.selector == "" || o.key == "" {
		return nil, cli.Usagef("--domain, --selector and --key are needed, or --key-dir")
	}
	k := dkim.SignOptions{Domain: o.domain, Selector: o.selector}
	var err error
	if k.Key, err = signing.ReadKey(o.key); err != nil {
		return nil, err
	}
	if err := k.Check(); err != nil {
		return nil, cli.Usagef("%w", err)
	}
	return []dkim.SignOptions{k}, nil
}

// compare holds the published key against the private one: pass, fail when it is another or there is none, and what else keeps
// it from being used.
func compare(ctx context.Context, v *dkim.VerifyOptions, k dkim.SignOptions) (result, reason string) {
	algorithm := dkim.Algorithm(k.Key.Public())
	published, err := v.FetchKey(ctx, dkim.Query(k.Selector, k.Domain), algorithm)
	var ke *dkim.KeyError
	switch {
	case errors.As(err, &ke) && ke.Temporary:
		return "temperror", err.Error()
	case errors.Is(err, dkim.ErrNoKey):
		return "fail", err.Error()
	case err != nil:
		return "permerror", err.Error()
	}
	if err := published.Allows(algorithm); err != nil {
		return "fail", err.Error()
	}
	if own, ok := k.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(published.Public) {
		return "fail", "another key is published"
	}
	notes := []string{fmt.Sprintf("%s, %d bits", strings.TrimSuffix(algorithm, "-sha256"), published.Bits)}
	if published.Testing {
		notes = append(notes, "in test mode (t=y)")
	}
	if published.Strict {
		notes = append(notes, "for no subdomains (t=s)")
	}
	return "pass", strings.Join(notes, ", ")
}
