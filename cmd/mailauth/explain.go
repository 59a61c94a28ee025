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
	for i, s := range r.DKIM {
		n := i + 1
		reason := ""
		if s.Reason != "" {
			reason = ": " + s.Reason
		}
		say("dkim %d: %s%s", n, s.Verdict, reason)
		if s.Domain != "" {
			say("dkim %d: signature of %s, selector %s, %s, %s", n, s.Domain, s.Selector, s.Algorithm, s.Canon)
		}
		if s.Key != "" {
			say("dkim %d: key at %s, %d bits: %s", n, s.Query, s.Bits, s.Key)
		}
		if s.GotBody != "" {
			say("dkim %d: body hash %s, signed %s", n, s.GotBody, s.WantBody)
		}
		if s.Bits != 0 {
			say("dkim %d: body %s, header %s", n, matches(s.BodyOK), matches(s.HeaderOK))
		}
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
	Key        string       `json:"key,omitempty"`
	Bits       int          `json:"bits,omitempty"`
	Testing    bool         `json:"testing,omitempty"`
	SignedHash string       `json:"signed_body_hash,omitempty"`
	BodyHash   string       `json:"body_hash,omitempty"`
	BodyOK     bool         `json:"body_ok"`
	HeaderOK   bool         `json:"header_ok"`
	Canonical  string       `json:"canonical_header,omitempty"`
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
	for _, s := range r.DKIM {
		line := signature{
			Method: "dkim", Result: s.Verdict, Reason: s.Reason, Domain: s.Domain, Identifier: s.Identifier, Selector: s.Selector,
			Algorithm: s.Algorithm, Canon: s.Canon, Fields: s.Names, Query: s.Query, Key: s.Key, Bits: s.Bits, Testing: s.Testing,
			SignedHash: s.WantBody, BodyHash: s.GotBody, BodyOK: s.BodyOK, HeaderOK: s.HeaderOK, Canonical: string(s.Canonical),
		}
		if !s.Time.IsZero() {
			line.Time = s.Time.Unix()
		}
		if !s.Expires.IsZero() {
			line.Expires = s.Expires.Unix()
		}
		if err := out.Encode(line); err != nil {
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
