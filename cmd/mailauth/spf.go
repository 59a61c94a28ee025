package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/mailauth"
	"pennypost/internal/mailauth/explain"
	"pennypost/internal/resolver"
	"pennypost/internal/spf"
	"pennypost/internal/status"
)

// spfOptions are the flags of spf.
type spfOptions struct {
	receiver      string
	verbose, json bool
	require       requirement
	dns           func() (*resolver.Resolver, error)
}

func newSPF() *cobra.Command {
	var o spfOptions
	cmd := &cobra.Command{
		Use:                   "spf IP SENDER HELO [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Tell whether a host may send for a domain",
		Long: "Spf asks the domain of SENDER whether the host IP, which said HELO, may send its mail. Without a\n" +
			"sender ('' or '<>'), the domain is HELO. The answer is a line of result, reason and, if the domain\n" +
			"has one, its explanation, with tabs between; the exit status tells the result.",
		Example: "  mailauth spf 192.0.2.1 alice@example.org mail.example.org\n" +
			"  mailauth spf -v 2001:db8::1 '' mail.example.org",
		Args: cobra.ExactArgs(3),
		RunE: o.run,
	}
	f := cmd.Flags()
	f.StringVar(&o.receiver, "receiver", "", "the domain may name `NAME` as the host that asks (default \"unknown\")")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show each step on standard error")
	f.BoolVar(&o.json, "json", false, "write result and steps as a JSON line")
	o.require.add(cmd, "spf")
	o.dns = dnsflags.Recorded(cmd)
	return cmd
}

func (o *spfOptions) run(cmd *cobra.Command, args []string) error {
	ip, err := netip.ParseAddr(args[0])
	if err != nil {
		return cli.Usagef("%q is not an IP address", args[0])
	}
	q := spf.Query{IP: ip, Sender: bare(args[1]), Helo: args[2], Receiver: o.receiver}
	if q.Sender != "" && !strings.Contains(q.Sender, "@") {
		return cli.Usagef("sender %q is not an address", args[1])
	}
	dns, err := setUp(o.dns)
	if err != nil {
		return err
	}
	r := spf.Evaluate(cmd.Context(), q, spf.Options{Resolver: dns, Now: dns.Now()})
	if o.verbose {
		if err := writeSteps(cmd.ErrOrStderr(), explain.SPF(r, ip)); err != nil {
			return status.Errorf(status.IO, "writing the steps: %w", err)
		}
	}
	if err := o.write(cmd.OutOrStdout(), r); err != nil {
		return status.Errorf(status.IO, "writing the result: %w", err)
	}
	return o.require.exit(&mailauth.Report{SPF: r}, string(r.Result))
}

// bare is an address without the brackets of MAIL FROM.
func bare(s string) string {
	if inner, ok := strings.CutPrefix(s, "<"); ok && strings.HasSuffix(inner, ">") {
		return strings.TrimSuffix(inner, ">")
	}
	return s
}

func (o *spfOptions) write(w io.Writer, r *spf.Report) error {
	if o.json {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		return out.Encode(r)
	}
	line := string(r.Result) + "\t" + status.Escape(r.Reason, maxLine)
	if r.Explanation != "" {
		line += "\t" + status.Escape(r.Explanation, maxLine)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
