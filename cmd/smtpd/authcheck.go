package main

import (
	"context"
	"net/netip"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/dkim"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// authFlags are the flags of the checks that mailauth verify does in a process of its own.
type authFlags struct {
	on        bool
	enforce   string
	temperror bool
	trust     []string
}

func (a *authFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&a.on, "auth-check", false, "check SPF, DKIM and DMARC and put Authentication-Results on top")
	f.StringVar(&a.enforce, "enforce", "", "refuse messages as `POLICY` says: dmarc; implies --auth-check")
	f.StringSliceVar(&a.trust, "trust-arc", nil, "with --enforce: believe the results that were sealed by `DOMAIN,...`")
	f.BoolVar(&a.temperror, "enforce-temperror", false, "with --enforce: put off messages that cannot be checked now")
}

func (a *authFlags) check() error {
	switch {
	case a.enforce != "" && a.enforce != "dmarc":
		return cli.Usagef("--enforce is dmarc, not %q", a.enforce)
	case a.temperror && a.enforce == "":
		return cli.Usagef("--enforce-temperror needs --enforce")
	case len(a.trust) > 0 && a.enforce == "":
		return cli.Usagef("--trust-arc needs --enforce")
	}
	a.on = a.on || a.enforce != ""
	return nil
}

// authenticate checks the message as mailauth verify does. The results stand in the message, in the envelope for the next
// program and in the log. Whoever may send to other hosts from here sends for users of ours, from anywhere: of their messages
// only the signatures are checked.
func (k *checks) authenticate(ctx context.Context, f *smtp.Facts, m *message.Message) (*message.Message, error) {
	c := f.Envelope.Conn
	ip, _ := netip.ParseAddr(c.RemoteIP) // a caller without an address has none
	m, report, err := mailauth.Verify(ctx, m, mailauth.Options{
		IDs:      []string{k.name},
		Session:  mailauth.Session{IP: ip, Helo: c.Helo, Sender: f.Envelope.Sender.String(), Trusted: k.mayRelay(c)},
		Resolver: k.dns,
		DKIM:     dkim.VerifyOptions{Keys: &k.keys},
		Trust:    k.auth.trust,
	})
	if err != nil {
		return nil, status.Errorf(status.TempFail, "check the message: %w", err)
	}
	f.Attrs = append(f.Attrs, report.Attrs()...)
	return m, mailauth.Enforcement{DMARC: k.auth.enforce == "dmarc", TempError: k.auth.temperror}.Apply(report, f.Envelope)
}
