package main

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/dkim"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/policy"
	"pennypost/internal/policy/milter"
	"pennypost/internal/resolver"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// greyDir is the directory of the greylist in the office.
const greyDir = "greylist"

// checkFlags are the flags of the checks that are off unless asked for.
type checkFlags struct {
	ask          string
	dnsbl, dnswl []string
	fcrdns, helo string
	sender       bool
	auth         authFlags
	greylist     time.Duration
	milters      []string
	milterFail   string
	dns          func() (*resolver.Resolver, error)
}

func (c *checkFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.ask, "ask", "", "let `PROGRAM` decide at connect, MAIL, RCPT and DATA")
	f.StringArrayVar(&c.dnsbl, "dnsbl", nil, "refuse clients that are in the DNS list `ZONE[=ANSWERS]`")
	f.StringArrayVar(&c.dnswl, "dnswl", nil, "spare clients that are in the DNS list `ZONE[=ANSWERS]`")
	f.StringVar(&c.fcrdns, "fcrdns", "", "look for the client's verified host name, `MODE` log or require")
	f.StringVar(&c.helo, "check-helo", "", "refuse names in HELO that cannot be the client's, `MODE` syntax or resolve")
	f.BoolVar(&c.sender, "check-sender", false, "refuse senders whose domain takes no mail")
	c.auth.add(cmd)
	f.DurationVar(&c.greylist, "greylist", 0, "make unknown clients come again after `TIME`")
	f.StringArrayVar(&c.milters, "milter", nil, "ask the mail filter at `ADDRESS`; may be given several times")
	f.StringVar(&c.milterFail, "milter-fail", "tempfail", "when a mail filter fails `VERDICT`: tempfail or accept")
	c.dns = dnsflags.Flags(cmd)
}

// checks is the handler with what the flags ask for around it. It serves many sessions; what it knows of one is in
// Facts.Policy.
type checks struct {
	*handler
	ask     policy.Ask
	clients policy.Clients
	look    bool // there is something to ask about clients
	helo    string
	sender  bool
	auth    authFlags
	grey    *policy.Greylist   // nil: none
	filters *milter.Filters    // nil: none
	dns     *resolver.Resolver // nil when no check needs it
	keys    dkim.KeyCache
	log     *slog.Logger
}

// newChecks reads the flags. The DNS is set up only when it will be asked.
func newChecks(c checkFlags, h *handler, log *slog.Logger) (*checks, error) {
	k := &checks{handler: h, ask: policy.Ask{Program: c.ask}, helo: c.helo, sender: c.sender, auth: c.auth, log: log}
	if c.fcrdns != "" && c.fcrdns != "log" && c.fcrdns != "require" {
		return nil, cli.Usagef("--fcrdns is log or require, not %q", c.fcrdns)
	}
	if c.helo != "" && c.helo != "syntax" && c.helo != "resolve" {
		return nil, cli.Usagef("--check-helo is syntax or resolve, not %q", c.helo)
	}
	if err := k.auth.check(); err != nil {
		return nil, err
	}
	if c.greylist < 0 || c.greylist > 24*time.Hour {
		return nil, cli.Usagef("--greylist is at most 24h")
	}
	k.clients.Name, k.clients.Require = c.fcrdns != "", c.fcrdns == "require"
	var err error
	if k.clients.Block, err = parseLists(c.dnsbl); err != nil {
		return nil, err
	}
	if k.clients.Allow, err = parseLists(c.dnswl); err != nil {
		return nil, err
	}
	k.look = k.clients.Name || len(k.clients.Block)+len(k.clients.Allow) > 0
	if k.look || k.helo == "resolve" || k.sender || k.auth.on {
		if k.dns, err = c.dns(); err != nil {
			return nil, status.Errorf(status.Config, "set up DNS: %w", err)
		}
		k.clients.DNS = k.dns
	}
	if k.filters, err = newFilters(c, h.name, log); err != nil {
		return nil, err
	}
	if c.greylist > 0 {
		k.grey = &policy.Greylist{Root: h.office.Root(), Dir: greyDir, Delay: c.greylist}
	}
	return k, nil
}

func parseLists(zones []string) ([]policy.List, error) {
	var lists []policy.List
	for _, z := range zones {
		l, err := policy.ParseList(z)
		if err != nil {
			return nil, cli.Usagef("%w", err)
		}
		lists = append(lists, l)
	}
	return lists, nil
}

// peer is the address of a client on the network; nobody asks about this host itself.
func peer(f *smtp.Facts) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(f.Envelope.Conn.RemoteIP)
	return ip.Unmap().WithZone(""), err == nil && !ip.Unmap().IsLoopback()
}

// known is what the checks keep of a session, in Facts.Policy.
type known struct {
	client *policy.Client      // nil when nobody asked
	filter *milter.Transaction // nil outside of a transaction, and without milters
}

func knownOf(f *smtp.Facts) *known {
	k, ok := f.Policy.(*known)
	if !ok {
		k = new(known)
		f.Policy = k
	}
	return k
}

// client is what is known of the peer, nil when nobody asked.
func client(f *smtp.Facts) *policy.Client { return knownOf(f).client }

// Connect asks the DNS about the client, whose name is then the verified one or none.
func (k *checks) Connect(ctx context.Context, f *smtp.Facts) error {
	if err := k.handler.Connect(ctx, f); err != nil {
		return err
	}
	knownOf(f).client = nil
	ip, ok := peer(f)
	if k.look && ok {
		c := k.clients.LookUp(ctx, ip)
		knownOf(f).client = c
		if k.clients.Name {
			f.Envelope.Conn.RemoteHost = c.Name
			if c.NameErr != nil {
				k.log.Info("client without a name", "sid", f.Session, "peer", ip.String(), "why", status.Escape(c.NameErr.Error(), 300))
			}
		}
	}
	return k.ask.At(ctx, policy.AtConnect, f.Envelope, nil)
}

// Mail checks the client's greeting and the sender.
func (k *checks) Mail(ctx context.Context, f *smtp.Facts, m *smtp.Mail) error {
	if err := k.handler.Mail(ctx, f, m); err != nil {
		return err
	}
	if err := k.greeting(ctx, f); err != nil {
		return err
	}
	if k.sender {
		if err := policy.Sender(ctx, k.dns, m.Sender, k.office.HasDomain); err != nil {
			return err
		}
	}
	if k.ask.Program != "" {
		e := *f.Envelope
		e.Sender = m.Sender
		if err := k.ask.At(ctx, policy.AtMail, &e, nil); err != nil {
			return err
		}
	}
	return k.begin(f, m.Sender)
}

// greeting checks what the client called itself. A user who has logged in is known better than by that.
func (k *checks) greeting(ctx context.Context, f *smtp.Facts) error {
	ip, ok := peer(f)
	if !ok || k.helo == "" || f.Envelope.Conn.AuthUser != "" {
		return nil
	}
	g := policy.Greeting{Name: f.Envelope.Conn.Helo, Peer: ip, Server: k.name}
	if err := g.Accept(); err != nil || k.helo != "resolve" {
		return err
	}
	return g.Exists(ctx, k.dns)
}

// Rcpt checks the client of a recipient that would be taken. The postmaster is there for those who are refused too (RFC 5321
// section 4.5.1).
func (k *checks) Rcpt(ctx context.Context, f *smtp.Facts, r *smtp.Recipient) error {
	if err := k.handler.Rcpt(ctx, f, r); err != nil {
		return err
	}
	to, user := r.Address, f.Envelope.Conn.AuthUser
	if user == "" && !strings.EqualFold(to.Local, "postmaster") {
		if err := client(f).Accept(); err != nil {
			return err
		}
	}
	if k.ask.Program != "" {
		e := envelope.Envelope{Conn: f.Envelope.Conn, Sender: f.Envelope.Sender, Recipients: []envelope.Address{to}, SMTPUTF8: f.Envelope.SMTPUTF8}
		if err := k.ask.At(ctx, policy.AtRcpt, &e, nil); err != nil {
			return err
		}
	}
	ip, ok := peer(f)
	if c := client(f); ok && k.grey != nil && user == "" && (c == nil || c.Allowed == "") {
		if err := k.grey.Accept(ip, f.Envelope.Sender, to); err != nil {
			return err
		}
	}
	if t := knownOf(f).filter; t != nil {
		return t.Rcpt(f.ID, to)
	}
	return nil
}

// Examine checks the message once for all its recipients; what is handed on is a view of m.
func (k *checks) Examine(ctx context.Context, f *smtp.Facts, m *message.Message) (*message.Message, error) {
	m, err := k.handler.Examine(ctx, f, m)
	if err != nil {
		return nil, err
	}
	if k.auth.on {
		if m, err = k.authenticate(ctx, f, m); err != nil {
			return nil, err
		}
	}
	if t := knownOf(f).filter; t != nil {
		if m, err = t.Message(m, f.Envelope); err != nil || m == nil {
			return nil, err
		}
	}
	if err := k.ask.At(ctx, policy.AtData, f.Envelope, m); err != nil {
		return nil, err
	}
	return m, nil
}
