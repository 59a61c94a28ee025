package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/mailauth/lint"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
	"pennypost/internal/route/sts"
	"pennypost/internal/status"
)

// lintOptions are the flags of lint.
type lintOptions struct {
	selectors []string
	policy    string
	json      bool
	dns       func() (*resolver.Resolver, error)
}

func newLint() *cobra.Command {
	var o lintOptions
	cmd := &cobra.Command{
		Use:                   "lint [DOMAIN] [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Look for mistakes in what a domain publishes",
		Long: "Lint looks at the SPF, DKIM, DMARC, MTA-STS, TLS-RPT and BIMI records of DOMAIN and at its mail hosts,\n" +
			"or, without a DOMAIN, at the one record on standard input. Each finding is a line of level (error,\n" +
			"warning, note, trouble), check, name and text, with tabs between.",
		Example: "  mailauth lint example.org --selector mail\n" +
			"  mailauth lint example.org --zone new.zone\n" +
			"  echo 'v=spf1 mx -all' | mailauth lint",
		Args: cobra.MaximumNArgs(1),
		RunE: o.run,
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.selectors, "selector", "s", nil, "the DKIM keys are `NAME,...` (default: in the zone, or common ones)")
	f.StringVar(&o.policy, "sts-policy", "", "take the MTA-STS policy from `FILE` instead of the web server")
	f.BoolVar(&o.json, "json", false, "write findings as JSON lines")
	o.dns = dnsflags.Recorded(cmd)
	return cmd
}

func (o *lintOptions) run(cmd *cobra.Command, args []string) error {
	var found []lint.Finding
	var err error
	if len(args) == 0 {
		found, err = o.record(cmd)
	} else {
		found, err = o.domain(cmd, args[0])
	}
	if err != nil {
		return err
	}
	if err := o.write(cmd.OutOrStdout(), found); err != nil {
		return status.Errorf(status.IO, "writing the findings: %w", err)
	}
	has := func(l lint.Level) bool {
		return slices.ContainsFunc(found, func(f lint.Finding) bool { return f.Level == l })
	}
	switch {
	case has(lint.Error):
		return answer("fail")
	case has(lint.Trouble):
		return answer("temperror")
	}
	return nil
}

// record looks at the record on standard input.
func (o *lintOptions) record(cmd *cobra.Command) ([]lint.Finding, error) {
	for _, name := range []string{"selector", "sts-policy", "resolver", "zone", "record", "replay"} {
		if cmd.Flags().Changed(name) {
			return nil, cli.Usagef("--%s is for a domain, and there is none", name)
		}
	}
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), most))
	if err != nil {
		return nil, status.Errorf(status.IO, "reading the record: %w", err)
	}
	found, err := lint.Record(string(text))
	if err != nil {
		return nil, status.Errorf(status.Data, "reading the record: %w", err)
	}
	return found, nil
}

func (o *lintOptions) domain(cmd *cobra.Command, domain string) ([]lint.Finding, error) {
	dns, err := setUp(o.dns)
	if err != nil {
		return nil, err
	}
	l := lint.Options{Resolver: dns, Selectors: o.selectors}
	var found []lint.Finding
	zone, _ := cmd.Flags().GetString("zone")
	if zone != "" {
		l.Offline = true
		if found, err = o.readZone(zone, &l); err != nil {
			return nil, err
		}
	}
	if l.Policy, err = o.policySource(dns, zone != "" || cmd.Flags().Changed("replay")); err != nil {
		return nil, err
	}
	more, err := lint.Domain(cmd.Context(), domain, l)
	if err != nil {
		return nil, cli.Usagef("%w", err)
	}
	return append(found, more...), nil
}

// readZone looks at the text of a zone file, and which names there are.
func (o *lintOptions) readZone(file string, l *lint.Options) ([]lint.Finding, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, status.Errorf(status.Config, "reading the zone: %w", err)
	}
	zone, err := resolver.ParseZone(strings.NewReader(string(text)), file)
	if err != nil {
		return nil, status.Errorf(status.Config, "reading the zone: %w", err)
	}
	l.Names = zone.Names()
	return lint.Zone(string(text)), nil
}

// policySource is where the MTA-STS policy comes from: a file, the web server, or nowhere.
func (o *lintOptions) policySource(dns *resolver.Resolver, offline bool) (lint.PolicyFunc, error) {
	switch {
	case o.policy != "":
		text, err := os.ReadFile(o.policy)
		if err != nil {
			return nil, status.Errorf(status.Config, "reading the policy: %w", err)
		}
		return func(context.Context, string) (*route.Policy, error) { return route.ParsePolicy(text) }, nil
	case offline:
		return nil, nil
	}
	return (&sts.Source{Resolver: dns}).Policy, nil
}

func (o *lintOptions) write(w io.Writer, found []lint.Finding) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, f := range found {
		var err error
		if o.json {
			err = out.Encode(f)
		} else {
			name, text := status.Escape(orDash(f.Name), maxLine), status.Escape(f.Text, maxLine)
			_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Level, orDash(f.Check), name, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
