package main

import (
	"encoding/json"
	"fmt"
	"io"

	"pennypost/internal/arc"
	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/mailauth"
	"pennypost/internal/spf"
	"pennypost/internal/status"
)

const maxLine = 1000 // of a line of explanation

// teller writes facts, each an escaped line.
func teller(w io.Writer) func(format string, a ...any) {
	return func(format string, a ...any) {
		fmt.Fprintln(w, status.Escape(fmt.Sprintf(format, a...), maxLine))
	}
}

// explain writes what was seen of each signature, a fact a line.
func explain(w io.Writer, r *mailauth.Report) {
	say := teller(w)
	if r.SPF != nil {
		say("spf: %s: %s", r.SPF.Result, r.SPF.Reason)
	}
	if r.HELO != nil {
		say("spf of HELO: %s: %s", r.HELO.Result, r.HELO.Reason)
	}
	if len(r.DKIM) == 0 {
		say("dkim: none: no signature")
	}
	for i := range r.DKIM {
		tellSignature(say, i+1, &r.DKIM[i])
	}
	if r.ARC != nil && r.ARC.Result != arc.None {
		explainARC(w, r.ARC)
	}
	if r.DMARC != nil {
		explainDMARC(say, r.DMARC)
	}
	if o := r.Override; o != nil {
		say("dmarc: not applied: set %d of %s, who is trusted, found a pass", o.Instance, o.Sealer)
	}
	for _, f := range r.Removed {
		say("removed: %s: %s", f.Name, f.Value())
	}
}

func matches(ok bool) string {
	if ok {
		return "matches"
	}
	return "does not match"
}

// identity, chain and policy are the reports of SPF, ARC and DMARC as JSON lines.
type (
	identity struct {
		Method string `json:"method"`
		*spf.Report
	}
	chain struct {
		Method string `json:"method"`
		*arc.Report
	}
	policy struct {
		Method string `json:"method"`
		*dmarc.Report
		Override *mailauth.Override `json:"override,omitempty"`
	}
)

// explainJSON writes a line for each identity of SPF, each signature, the chain of ARC, DMARC, and each field removed.
func explainJSON(w io.Writer, r *mailauth.Report) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, s := range []*spf.Report{r.SPF, r.HELO} {
		if s != nil {
			if err := out.Encode(identity{"spf", s}); err != nil {
				return err
			}
		}
	}
	if len(r.DKIM) == 0 {
		if err := out.Encode(signature{Method: "dkim", Result: dkim.None}); err != nil {
			return err
		}
	}
	for i := range r.DKIM {
		if err := out.Encode(signatureLine(&r.DKIM[i])); err != nil {
			return err
		}
	}
	if r.ARC != nil && r.ARC.Result != arc.None {
		if err := out.Encode(chain{"arc", r.ARC}); err != nil {
			return err
		}
	}
	if r.DMARC != nil {
		if err := out.Encode(policy{"dmarc", r.DMARC, r.Override}); err != nil {
			return err
		}
	}
	for _, f := range r.Removed {
		if err := out.Encode(map[string]string{"removed": f.Value()}); err != nil {
			return err
		}
	}
	return nil
}
