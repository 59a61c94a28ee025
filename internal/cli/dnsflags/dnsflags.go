// Package dnsflags gives a program the flags that say who answers its DNS questions.
package dnsflags

import (
	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/resolver"
)

// Flags adds --resolver and --zone and returns what makes the resolver of them.
func Flags(cmd *cobra.Command) func() (*resolver.Resolver, error) {
	var server, zone string
	cmd.Flags().StringVar(&server, "resolver", "", "ask the DNS server at `HOST:PORT` (default $MAIL_RESOLVER, then /etc/resolv.conf)")
	cmd.Flags().StringVar(&zone, "zone", "", "answer DNS from the zone in `FILE` and ask nobody")
	return func() (*resolver.Resolver, error) {
		return resolver.New(resolver.Options{Server: cli.EnvOr(server, "MAIL_RESOLVER"), ZoneFile: zone})
	}
}
