package main

import (
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/envelope"
	"pennypost/internal/mailauth"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

// checkFlags are the flags of the commands that check a whole message.
type checkFlags struct {
	ids            []string
	ip, helo, from string
	given          func(flag string) bool
	mode           string
	trust          []string
	require        requirement
	dns            func() (*resolver.Resolver, error)
}

func (c *checkFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&c.ids, "authserv-id", nil,
		"write results as `NAME` and remove those that claim it; further ones are only removed (default the host name)")
	c.addSession(cmd)
	c.require.add(cmd)
}

// addSession adds the flags that say how the message came, and those of addRules.
func (c *checkFlags) addSession(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.ip, "ip", "", "the message came from the host at `ADDRESS` (default $TCPREMOTEIP)")
	f.StringVar(&c.helo, "helo", "", "which called itself `NAME` (default $HELO)")
	f.StringVarP(&c.from, "from", "f", "", "with the envelope sender `ADDRESS` (default $SENDER)")
	c.addRules(cmd)
}

// addRules adds the flags that say by which rules messages are judged.
func (c *checkFlags) addRules(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.mode, "dmarc", "9989", "find DMARC policies by the RFC `MODE`: 9989, 7489 or both")
	trustFlag(cmd, &c.trust,
		"believe what `DOMAIN,...` found and sealed (ARC) before the message was changed, and do not apply DMARC then")
	c.given = f.Changed
	c.dns = dnsflags.Recorded(cmd)
}

// options is what the check is to know before there is a message.
func (c *checkFlags) options() (o mailauth.Options, err error) {
	if len(c.ids) == 0 {
		host, err := os.Hostname()
		if err != nil {
			return o, status.Errorf(status.OSErr, "finding the host name: %w", err)
		}
		c.ids = []string{host}
	}
	for _, id := range c.ids {
		if !isID(id) {
			return o, cli.Usagef("--authserv-id %q is not a name", id)
		}
	}
	o.IDs, o.Trust = c.ids, c.trust
	if o.Mode, err = parseMode(c.mode); err != nil {
		return o, err
	}
	if c.given("ip") {
		if _, err := netip.ParseAddr(c.ip); err != nil {
			return o, cli.Usagef("--ip %q is not an IP address", c.ip)
		}
	}
	dns, err := setUp(c.dns)
	if err != nil {
		return o, err
	}
	o.Resolver, o.Now = dns, dns.Now()
	o.DKIM.Keys = new(dkim.KeyCache)
	return o, nil
}

func parseMode(s string) (dmarc.Mode, error) {
	switch m := dmarc.Mode(s); m {
	case dmarc.RFC9989, dmarc.RFC7489, dmarc.Both:
		return m, nil
	}
	return "", cli.Usagef("--dmarc is 9989, 7489 or both, not %q", s)
}

// session completes the envelope by the flags and takes from it how the message came. Mail of a user who has logged in is
// trusted: it comes from wherever the user is.
func (c *checkFlags) session(e *envelope.Envelope, o *mailauth.Options) error {
	if c.given("ip") {
		e.Conn.RemoteIP = c.ip
	}
	if c.given("helo") {
		e.Conn.Helo = c.helo
	}
	if c.given("from") {
		sender, err := envelope.Parse(c.from)
		if err != nil {
			return cli.Usagef("--from %q is not an address", c.from)
		}
		e.Sender = sender
	}
	ip, _ := netip.ParseAddr(e.Conn.RemoteIP) // what is none is not known
	o.Session = mailauth.Session{IP: ip, Helo: e.Conn.Helo, Sender: e.Sender.String(), Trusted: e.Conn.AuthUser != ""}
	return nil
}

func isID(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7F || strings.ContainsRune(`();"\`, r)
	})
}
