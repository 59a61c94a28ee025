package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/dkim"
	"pennypost/internal/handoff"
	"pennypost/internal/mailauth"
	"pennypost/internal/mailauth/explain"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
	"pennypost/internal/status"
)

// dkimOptions are the flags of dkim.
type dkimOptions struct {
	bits          int
	partial       bool
	verbose, json bool
	require       requirement
	dns           func() (*resolver.Resolver, error)
}

func newDKIM() *cobra.Command {
	var o dkimOptions
	cmd := &cobra.Command{
		Use:                   "dkim [FLAGS]",
		DisableFlagsInUseLine: true,
		Short:                 "Tell whether the signatures of a message hold",
		Long: "Dkim checks the DKIM signatures of the message on standard input. The answer is a line for each of\n" +
			"them, from the top of the header down: result, domain, selector and reason, with tabs between. The\n" +
			"exit status tells the best result.",
		Example: "  mailauth dkim <message\n" +
			"  mailauth dkim -v --zone example.org.zone <message",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.IntVar(&o.bits, "min-bits", dkim.MinBits, "answer \"policy\" for RSA keys of less than `N` bits")
	f.BoolVar(&o.partial, "partial", false, "let a signature pass that covers only the beginning of the body (l=)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show on standard error what was seen of each signature, and what it does not cover")
	f.BoolVar(&o.json, "json", false, "write each signature as a JSON line")
	o.require.add(cmd, "dkim")
	o.dns = dnsflags.Recorded(cmd)
	return cmd
}

func (o *dkimOptions) run(cmd *cobra.Command) error {
	dns, err := setUp(o.dns)
	if err != nil {
		return err
	}
	m, _, err := handoff.Receive(handoff.Input{})
	if err != nil {
		return err
	}
	defer m.Close()
	header, err := m.Header()
	if err != nil {
		return fmt.Errorf("checking the message: %w", err)
	}
	now := dns.Now()
	results, err := dkim.Verify(cmd.Context(), m,
		dkim.VerifyOptions{LookupTXT: mailauth.LookupTXT(dns), Now: now, MinBits: o.bits, Partial: o.partial})
	if err != nil {
		return fmt.Errorf("checking the message: %w", err)
	}
	shown := results
	if len(results) == 0 {
		shown = []dkim.Result{{Verdict: dkim.None, Reason: whyNone(header), Length: -1}}
	}
	if o.verbose {
		damage, err := dkim.Examine(m, results)
		if err != nil {
			return fmt.Errorf("explaining the results: %w", err)
		}
		if err := writeSteps(cmd.ErrOrStderr(), explain.DKIM(results, damage, header, now)); err != nil {
			return status.Errorf(status.IO, "writing the steps: %w", err)
		}
	}
	if err := o.write(cmd.OutOrStdout(), shown, header); err != nil {
		return status.Errorf(status.IO, "writing the result: %w", err)
	}
	return o.require.exit(&mailauth.Report{DKIM: results}, string(best(shown)))
}

// whyNone says why there is no signature, since some messages only look as if they had one.
func whyNone(h message.Header) string {
	switch {
	case len(h.Fields) > 0:
		return "there is no signature"
	case h.Blank:
		return "there is no header: the message begins with an empty line"
	}
	return "there is no header"
}

// best is the result that a message may be called by: one signature that holds is enough, and one whose key could not be had
// might be it.
func best(results []dkim.Result) dkim.Verdict {
	for _, v := range []dkim.Verdict{dkim.Pass, dkim.TempError, dkim.Fail, dkim.Policy, dkim.Neutral, dkim.PermError} {
		for _, r := range results {
			if r.Verdict == v {
				return v
			}
		}
	}
	return dkim.None
}

func (o *dkimOptions) write(w io.Writer, results []dkim.Result, header message.Header) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for i := range results {
		r := &results[i]
		if o.json {
			line := signatureLine(r)
			if r.Query != "" {
				line.Uncovered = r.Uncovered(header)
			}
			if err := out.Encode(line); err != nil {
				return err
			}
			continue
		}
		var columns []string
		for _, c := range []string{string(r.Verdict), r.Domain, r.Selector, r.Reason} {
			columns = append(columns, status.Escape(c, maxLine))
		}
		if _, err := fmt.Fprintln(w, strings.Join(columns, "\t")); err != nil {
			return err
		}
	}
	return nil
}

// signature is a dkim.Result as a JSON line.
type signature struct {
	Method     string       `json:"method"`
	Result     dkim.Verdict `json:"result"`
	Reason     string       `json:"reason,omitempty"`
	Domain     string       `json:"domain,omitempty"`
	Identifier string       `json:"identifier,omitempty"`
	Selector   string       `json:"selector,omitempty"`
	Algorithm  string       `json:"algorithm,omitempty"`
	Canon      string       `json:"canonicalization,omitempty"`
	Fields     []string     `json:"fields,omitempty"`
	Time       int64        `json:"time,omitempty"`
	Expires    int64        `json:"expires,omitempty"`
	Query      string       `json:"query,omitempty"`
	Records    int          `json:"records,omitempty"`
	Record     int          `json:"record,omitempty"`
	Key        string       `json:"key,omitempty"`
	Bits       int          `json:"bits,omitempty"`
	Testing    bool         `json:"testing,omitempty"`
	SignedHash string       `json:"signed_body_hash,omitempty"`
	BodyHash   string       `json:"body_hash,omitempty"`
	BodyOK     bool         `json:"body_ok"`
	HeaderOK   bool         `json:"header_ok"`
	Counts     bool         `json:"counts"`
	Open       int64        `json:"unsigned_bytes,omitempty"`
	Canonical  string       `json:"canonical_header,omitempty"`
	Uncovered  []dkim.Gap   `json:"uncovered,omitempty"`
}

func signatureLine(s *dkim.Result) signature {
	line := signature{
		Method: "dkim", Result: s.Verdict, Reason: s.Reason, Domain: s.Domain, Identifier: s.Identifier, Selector: s.Selector,
		Algorithm: s.Algorithm, Canon: s.Canon, Fields: s.Names, Query: s.Query, Records: s.Records, Record: s.Record,
		Key: s.Key, Bits: s.Bits, Testing: s.Testing, SignedHash: s.WantBody, BodyHash: s.GotBody, BodyOK: s.BodyOK,
		HeaderOK: s.HeaderOK, Counts: s.Counts(), Open: s.Open, Canonical: string(s.Canonical),
	}
	if !s.Time.IsZero() {
		line.Time = s.Time.Unix()
	}
	if !s.Expires.IsZero() {
		line.Expires = s.Expires.Unix()
	}
	return line
}
