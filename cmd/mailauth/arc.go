package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/arc"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/dkim"
	"pennypost/internal/handoff"
	"pennypost/internal/mailauth"
	"pennypost/internal/mailauth/explain"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

// arcOptions are the flags of arc.
type arcOptions struct {
	trust         []string
	verbose, json bool
	dns           func() (*resolver.Resolver, error)
}

func newARC() *cobra.Command {
	var o arcOptions
	cmd := &cobra.Command{
		Use:                   "arc [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Tell whether the chain of those who handled a message holds",
		Long: "Arc checks the Authenticated Received Chain of the message on standard input. The answer is a line\n" +
			"of result and reason with a tab between; the exit status tells the result.",
		Example: "  mailauth arc <message\n" +
			"  mailauth arc --trust lists.example.org -v <message",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	trustFlag(cmd, &o.trust, "answer \"policy\" unless the newest seal is of one of `DOMAIN,...`")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show each set on standard error")
	f.BoolVar(&o.json, "json", false, "write the result and all sets as a JSON line")
	o.dns = dnsflags.Recorded(cmd)
	return cmd
}

// trustFlag is the list of those whose seals are believed.
func trustFlag(cmd *cobra.Command, into *[]string, usage string) {
	cmd.Flags().StringSliceVar(into, "trust", nil, usage)
}

// arcAnswer is the report with what the list of trusted sealers makes of it.
type arcAnswer struct {
	*arc.Report
	Result      string `json:"result"` // instead of the report's
	Reason      string `json:"reason,omitempty"`
	TrustedFrom int    `json:"trusted_from,omitempty"`
}

func (o *arcOptions) run(cmd *cobra.Command) error {
	dns, err := setUp(o.dns)
	if err != nil {
		return err
	}
	m, _, err := handoff.Receive(handoff.Input{})
	if err != nil {
		return err
	}
	defer m.Close()
	r, err := arc.Verify(cmd.Context(), m, dkim.VerifyOptions{LookupTXT: mailauth.LookupTXT(dns), Now: dns.Now()})
	if err != nil {
		return fmt.Errorf("checking the message: %w", err)
	}
	if o.verbose {
		if err := writeSteps(cmd.ErrOrStderr(), explain.ARC(r)); err != nil {
			return status.Errorf(status.IO, "writing the steps: %w", err)
		}
	}
	a := o.judge(r)
	if err := o.write(cmd.OutOrStdout(), a); err != nil {
		return status.Errorf(status.IO, "writing the result: %w", err)
	}
	if r.Temporary {
		return answer("temperror")
	}
	return answer(a.Result)
}

// judge adds what the trusted sealers mean for the result, and says it in words.
func (o *arcOptions) judge(r *arc.Report) arcAnswer {
	a := arcAnswer{Report: r, Result: string(r.Result), Reason: r.Reason, TrustedFrom: r.TrustedFrom(o.trust)}
	switch {
	case r.Result == arc.None:
		a.Reason = "there is no chain"
	case r.Result == arc.Pass && len(o.trust) > 0 && a.TrustedFrom == 0:
		a.Result = "policy"
		a.Reason = fmt.Sprintf("the chain passes, but its newest seal is of %s, who is not trusted", r.Sets[len(r.Sets)-1].Seal.Domain)
	case r.Result == arc.Pass:
		a.Reason = fmt.Sprintf("sealed by %s; unchanged since set %d", sealers(r), max(r.OldestPass, 1))
		if a.TrustedFrom > 0 {
			a.Reason += fmt.Sprintf("; trusted since set %d", a.TrustedFrom)
		}
	}
	return a
}

// sealers names who sealed, the first first.
func sealers(r *arc.Report) string {
	var all []string
	for _, s := range r.Sets {
		all = append(all, s.Seal.Domain)
	}
	return strings.Join(all, ", ")
}

func (o *arcOptions) write(w io.Writer, a arcAnswer) error {
	if o.json {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		return out.Encode(a)
	}
	_, err := fmt.Fprintln(w, a.Result+"\t"+status.Escape(a.Reason, maxLine))
	return err
}
