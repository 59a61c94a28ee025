package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/dmarc"
	"pennypost/internal/handoff"
	"pennypost/internal/mailauth"
	"pennypost/internal/status"
)

// dmarcOptions are the flags of dmarc.
type dmarcOptions struct {
	checkFlags
	spf           string
	dkim          []string
	verbose, json bool
}

func newDMARC() *cobra.Command {
	var o dmarcOptions
	cmd := &cobra.Command{
		Use:                   "dmarc [DOMAIN] [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Tell whether the author domain of a message is vouched for",
		Long: "Dmarc checks the message on standard input and says what came of DMARC. With DOMAIN it reads no message:\n" +
			"it says what would become of one from that domain if SPF passed for the domain of --spf, and DKIM for those\n" +
			"of --dkim. The answer is a line of result, author domain, disposition and reason, with tabs between;\n" +
			"the exit status tells the result.",
		Example: "  mailauth dmarc --ip 192.0.2.1 --helo mail.example.org --from alice@example.org <message\n" +
			"  mailauth dmarc -v news.example.org --dkim example.org",
		Args: cobra.MaximumNArgs(1),
		RunE: o.run,
	}
	f := cmd.Flags()
	o.addSession(cmd)
	f.StringVar(&o.spf, "spf", "", "with DOMAIN: SPF passes for `DOMAIN`")
	f.StringArrayVar(&o.dkim, "dkim", nil, "with DOMAIN: a signature of `DOMAIN` passes; may be given several times")
	o.require.add(cmd)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show each step on standard error")
	f.BoolVar(&o.json, "json", false, "write result and steps as a JSON line")
	return cmd
}

func (o *dmarcOptions) run(cmd *cobra.Command, args []string) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	options.Whole = o.verbose || o.json
	find := o.check
	if len(args) == 1 {
		find = o.suppose
	}
	r, err := find(cmd, args, options)
	if err != nil {
		return err
	}
	switch {
	case o.verbose && len(args) == 1:
		explainDMARC(teller(cmd.ErrOrStderr()), r.DMARC)
	case o.verbose:
		explain(cmd.ErrOrStderr(), r)
	}
	if err := o.write(cmd.OutOrStdout(), r.DMARC); err != nil {
		return status.Errorf(status.IO, "writing the result: %w", err)
	}
	return o.require.exit(r, string(r.DMARC.Result))
}

// suppose asks about a message that is not there.
func (o *dmarcOptions) suppose(cmd *cobra.Command, args []string, with mailauth.Options) (*mailauth.Report, error) {
	for _, flag := range []string{"ip", "helo", "from", "trust"} {
		if o.given(flag) {
			return nil, cli.Usagef("--%s goes with a message, not with a domain", flag)
		}
	}
	var auths []dmarc.Auth
	if o.spf != "" {
		auths = append(auths, dmarc.Auth{Method: "spf", Domain: o.spf, Pass: true})
	}
	for _, d := range o.dkim {
		auths = append(auths, dmarc.Auth{Method: "dkim", Domain: d, Pass: true})
	}
	r := dmarc.EvaluateDomain(cmd.Context(), args[0], auths, dmarc.Options{
		Resolver: with.Resolver, Mode: with.Mode, Whole: with.Whole})
	if r.From == "" {
		return nil, cli.Usagef("%q is not a domain", args[0])
	}
	return &mailauth.Report{DMARC: r}, nil
}

func (o *dmarcOptions) check(cmd *cobra.Command, _ []string, with mailauth.Options) (*mailauth.Report, error) {
	if o.spf != "" || len(o.dkim) > 0 {
		return nil, cli.Usagef("--spf and --dkim go with a domain, not with a message")
	}
	m, e, err := handoff.Receive(handoff.Input{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := o.session(e, &with); err != nil {
		return nil, err
	}
	with.Session.Trusted = false // it was asked for
	r, err := mailauth.Check(cmd.Context(), m, with)
	if err != nil {
		return nil, fmt.Errorf("checking the message: %w", err)
	}
	return r, nil
}

func (o *dmarcOptions) write(w io.Writer, r *dmarc.Report) error {
	if o.json {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		return out.Encode(r)
	}
	reason := r.Reason
	if r.Differ != "" {
		reason = r.Differ
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Result, r.From, r.Disposition, status.Escape(reason, maxLine))
	return err
}

// explainDMARC writes the way to a verdict, a fact a line.
func explainDMARC(say func(format string, a ...any), r *dmarc.Report) {
	say("dmarc: %s: %s", r.Result, r.Reason)
	for _, w := range r.Walks {
		for _, q := range w.Queries {
			if !q.Known || q.Domain == w.Start {
				say("dmarc: _dmarc.%s: %s", q.Domain, found(q))
			}
		}
		if w.Org != "" {
			say("dmarc: organisational domain of %s: %s (%s)", w.Start, w.Org, w.Rule)
		}
	}
	if r.Record != nil {
		for _, p := range r.Record.Problems {
			say("dmarc: record of %s: %s", r.PolicyDomain, p)
		}
	}
	for _, a := range r.Alignments {
		say("dmarc: %s %s: %s: %s", a.Method, a.Domain, aligned(a.Aligned), a.Why)
	}
	if r.Policy != "" {
		tag := "no p"
		if r.Tag != "" {
			tag = r.Tag
		}
		say("dmarc: policy %s (%s of %s), disposition %s", r.Policy, tag, r.PolicyDomain, r.Disposition)
	}
	if r.Other != nil {
		explainDMARC(func(format string, a ...any) { say("RFC 7489: "+format, a...) }, r.Other)
	}
	if r.Differ != "" {
		say("dmarc: %s", r.Differ)
	}
}

func found(q dmarc.Query) string {
	switch {
	case q.Error != "":
		return q.Error
	case q.Record != nil:
		return q.Texts[0]
	case len(q.Texts) > 0:
		return "several records, so none: " + strings.Join(q.Texts, " | ")
	case q.Absent:
		return "no such name"
	}
	return "no record"
}

func aligned(yes bool) string {
	if yes {
		return "aligned"
	}
	return "not aligned"
}
