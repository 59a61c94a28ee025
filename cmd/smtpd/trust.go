package main

import (
	"context"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/listen"
	"pennypost/internal/envelope"
	"pennypost/internal/policy"
	"pennypost/internal/serve"
	"pennypost/internal/smtp"
)

// trust is what peers may do because somebody named them.
type trust struct {
	relay, normalize, xclient policy.Networks
	relayClient, relayLocal   bool
	vrfy                      bool
}

func (t *trust) add(cmd *cobra.Command) {
	f := cmd.Flags()
	networks := func(n *policy.Networks, name, usage string) {
		f.Var(listen.Networks((*[]netip.Prefix)(n)), name, usage)
	}
	networks(&t.relay, "relay-from", "let peers in `NETWORK` send to other hosts; may be given several times")
	networks(&t.normalize, "normalize", "take bare LF in messages of peers in `NETWORK` as CRLF; may be given several times")
	networks(&t.xclient, "xclient-from", "let peers in `NETWORK` say by XCLIENT for whom they speak; may be given several times")
	f.BoolVar(&t.relayClient, "relayclient", false, "let the peer send to other hosts when RELAYCLIENT is set, as tcpserver does")
	f.BoolVar(&t.relayLocal, "relay-local", false, "let a caller without an address send to other hosts, as sendmail -bs does")
	f.BoolVar(&t.vrfy, "vrfy", false, "answer VRFY and EXPN")
}

// check reads RELAYCLIENT. It belongs to the one connection of a tcpserver, so a server that listens has none, and its peer is
// the address that tcpserver names: whoever XCLIENT or PROXY puts in its place is somebody else.
func (t *trust) check(o *serve.Options) error {
	switch {
	case t.relayLocal && (len(o.Listen) > 0 || os.Getenv("LISTEN_FDS") != ""):
		return cli.Usagef("--relay-local is for a caller on standard input, not for --listen or sockets of systemd")
	case !t.relayClient:
		return nil
	case len(o.Listen) > 0:
		return cli.Usagef("--relayclient is for one connection, as tcpserver gives it; use --relay-from with --listen")
	case os.Getenv("LISTEN_FDS") != "":
		return cli.Usagef("--relayclient is for one connection, as tcpserver gives it; use --relay-from with sockets of systemd")
	}
	_, set := os.LookupEnv("RELAYCLIENT")
	ip, err := netip.ParseAddr(os.Getenv("TCPREMOTEIP"))
	if set && err == nil {
		ip = ip.Unmap().WithZone("")
		t.relay = append(t.relay, netip.PrefixFrom(ip, ip.BitLen()))
	}
	return nil
}

// set gives an engine what it needs to know of this.
func (t *trust) set(e *smtp.Engine, h *handler) {
	if len(t.normalize) > 0 {
		e.Normalize = t.normalize.Contain
	}
	if len(t.xclient) > 0 {
		e.XClient = t.xclient.Contain
	}
	if t.vrfy {
		e.Verify = h.verify
	}
}

// verify looks up an address, or a name in the domains of this host's name.
func (h *handler) verify(_ context.Context, _ *smtp.Facts, word string) (said, box envelope.Address, err error) {
	if !strings.HasSuffix(word, ">") && !strings.Contains(word, "@") {
		said, box, err = h.verifyName(word)
		return said, box, err
	}
	if said, err = envelope.Parse(word); err != nil {
		return said, box, err
	}
	box, err = h.find(said)
	return said, box, err
}

func (h *handler) verifyName(name string) (said, box envelope.Address, err error) {
	said = envelope.Address{Local: name, Domain: h.name}
	box, err = h.find(said)
	for _, a := range policy.Postmasters(h.name) {
		if err == nil {
			break
		}
		said.Domain = a.Domain
		box, err = h.find(said)
	}
	return said, box, err
}

// find is the mailbox that an address leads to.
func (h *handler) find(a envelope.Address) (envelope.Address, error) {
	box, err := h.lookup(a)
	if err != nil {
		return envelope.Address{}, err
	}
	defer box.Close()
	return box.Address, nil
}
