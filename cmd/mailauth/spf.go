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
		for _, s := range r.Steps {
			showStep(cmd.ErrOrStderr(), s)
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

// showStep writes a step of an SPF evaluation: what was done, and below it each question with its answer.
func showStep(w io.Writer, s spf.Step) {
	indent := strings.Repeat("  ", s.Depth)
	say := func(format string, a ...any) {
		fmt.Fprintln(w, indent+status.Escape(fmt.Sprintf(format, a...), maxLine))
	}
	switch {
	case s.Term != "":
		line := fmt.Sprintf("%s: %s", s.Term, came(s))
		if s.Target != "" {
			line += ", about " + s.Target
		}
		say("%s (look-ups %d of %d, void %d of %d)", line, s.Lookups, spf.MaxLookups, s.Voids, spf.MaxVoids)
	case s.Record != "":
		say("record of %s: %s", s.Domain, s.Record)
	default:
		say("record of %s", s.Domain)
	}
	for _, q := range s.Questions {
		if s.Record != "" {
			continue // it is the answer
		}
		said := strings.Join(q.Answers, ", ")
		if q.Error != "" {
			said = q.Error
		}
		say("  %s %s: %s", q.Type, q.Name, said)
	}
	if s.Note != "" {
		say("  %s", s.Note)
	}
}

func came(s spf.Step) string {
	if s.Matched {
		return "yes"
	}
	return "no"
}
