package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/dmarc"
	"pennypost/internal/handoff"
	"pennypost/internal/mailauth"
	"pennypost/internal/mailauth/explain"
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
	r, steps, err := find(cmd, args, options)
	if err != nil {
		return err
	}
	if o.verbose {
		if err := writeSteps(cmd.ErrOrStderr(), steps); err != nil {
			return status.Errorf(status.IO, "writing the steps: %w", err)
		}
	}
	if err := o.write(cmd.OutOrStdout(), r.DMARC); err != nil {
		return status.Errorf(status.IO, "writing the result: %w", err)
	}
	return o.require.exit(r, string(r.DMARC.Result))
}

// suppose asks about a message that is not there.
func (o *dmarcOptions) suppose(cmd *cobra.Command, args []string, with mailauth.Options) (*mailauth.Report, []explain.Step, error) {
	for _, flag := range []string{"ip", "helo", "from", "trust"} {
		if o.given(flag) {
			return nil, nil, cli.Usagef("--%s goes with a message, not with a domain", flag)
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
		return nil, nil, cli.Usagef("%q is not a domain", args[0])
	}
	return &mailauth.Report{DMARC: r}, explain.DMARC(r), nil
}

func (o *dmarcOptions) check(cmd *cobra.Command, _ []string, with mailauth.Options) (*mailauth.Report, []explain.Step, error) {
	if o.spf != "" || len(o.dkim) > 0 {
		return nil, nil, cli.Usagef("--spf and --dkim go with a domain, not with a message")
	}
	m, e, err := handoff.Receive(handoff.Input{})
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	if err := o.session(e, &with); err != nil {
		return nil, nil, err
	}
	with.Session.Trusted = false // it was asked for
	r, err := mailauth.Check(cmd.Context(), m, with)
	if err != nil {
		return nil, nil, fmt.Errorf("checking the message: %w", err)
	}
	steps, err := stepsOf(m, r, with)
	return r, steps, err
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
