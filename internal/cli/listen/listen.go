// Package listen gives a server the flags that say where its connections come from.
package listen

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/serve"
)

// Flags adds --listen, --proxy-from, --max-connections, --max-per-address, --max-per-network,
// --rate-per-address, --limit-dir and --drain. The options are filled when the
// command line is parsed, and their logger is the command's. From here on nothing that is said on stderr reaches a peer.
func Flags(cmd *cobra.Command) *serve.Options {
	serve.KeepStderrFromPeer()
	o := &serve.Options{Log: cli.Logger(cmd)}
	f := cmd.Flags()
	f.StringArrayVar(&o.Listen, "listen", nil, "listen on `ADDRESS` (host:port, :port or unix:/path); may be given several times")
	f.Var((*prefixes)(&o.ProxyFrom), "proxy-from", "take a PROXY header from peers in `NETWORK`; may be given several times")
	f.IntVar(&o.MaxConns, "max-connections", 100, "most connections at a time, `N`")
	f.IntVar(&o.MaxPerAddress, "max-per-address", 20, "most connections at a time from one address, `N`")
	f.IntVar(&o.MaxPerNetwork, "max-per-network", 50, "most connections at a time from one network, `N`")
	f.IntVar(&o.RatePerAddress, "rate-per-address", 0, "most connections in a minute from one address, `N` (default any)")
	f.StringVar(&o.LimitDir, "limit-dir", "", "count addresses in `DIR`, together with all processes that use it")
	f.DurationVar(&o.Drain, "drain", 30*time.Second, "on SIGTERM let sessions go on for `TIME`")
	return o
}

// Networks is a flag that adds to p; it may be given several times.
func Networks(p *[]netip.Prefix) pflag.Value { return (*prefixes)(p) }

// prefixes is a flag of networks; an address alone is a network of one.
type prefixes []netip.Prefix

func (p *prefixes) String() string {
	var s []string
	for _, x := range *p {
		s = append(s, x.String())
	}
	return strings.Join(s, ",")
}

func (p *prefixes) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			ip, ipErr := netip.ParseAddr(part)
			if ipErr != nil {
				return err
			}
			ip = ip.Unmap() // peers are compared without their IPv6 dress
			prefix = netip.PrefixFrom(ip, ip.BitLen())
		}
		if prefix.Addr().Is4In6() {
			return fmt.Errorf("the IPv4 network %s is to be written without its IPv6 prefix", part)
		}
		*p = append(*p, prefix.Masked())
	}
	return nil
}

func (p *prefixes) Type() string { return "network" }
