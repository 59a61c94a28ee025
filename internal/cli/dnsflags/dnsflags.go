// Package dnsflags gives a program the flags that say who answers its DNS questions.
package dnsflags

import (
	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/resolver"
)

// Flags adds --resolver and --zone and returns what makes the resolver of them.
func Flags(cmd *cobra.Command) func() (*resolver.Resolver, error) {
	o := add(cmd)
	return func() (*resolver.Resolver, error) { return o.resolver() }
}

// Recorded adds those of Flags, and --record and --replay, for programs whose verdicts can be had again: they take the
// time from Resolver.Now.
func Recorded(cmd *cobra.Command) func() (*resolver.Resolver, error) {
	o := add(cmd)
	cmd.Flags().StringVar(&o.RecordFile, "record", "", "write every DNS answer, and the time, to `FILE`")
	cmd.Flags().StringVar(&o.ReplayFile, "replay", "", "take DNS answers and time from `FILE`, written by --record, and ask nobody")
	return func() (*resolver.Resolver, error) {
		if o.ReplayFile != "" && (o.Server != "" || o.ZoneFile != "" || o.RecordFile != "") {
			return nil, cli.Usagef("with --replay there is nothing to ask or to record")
		}
		return o.resolver()
	}
}

type options resolver.Options

func add(cmd *cobra.Command) *options {
	var o options
	cmd.Flags().StringVar(&o.Server, "resolver", "", "ask the DNS server at `HOST:PORT` (default $MAIL_RESOLVER, then /etc/resolv.conf)")
	cmd.Flags().StringVar(&o.ZoneFile, "zone", "", "answer DNS from the zone in `FILE` and ask nobody")
	return &o
}

func (o *options) resolver() (*resolver.Resolver, error) {
	r := resolver.Options(*o)
	r.Server = cli.EnvOr(r.Server, "MAIL_RESOLVER")
	return resolver.New(r)
}
