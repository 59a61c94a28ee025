package mailauth

import (
	"pennypost/internal/arc"
	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/spf"
)

// results puts a report into the form of RFC 8601 section 2.7: the identities of SPF, the signatures, then what follows from
// them.
func (r *Report) results(s Session) []MethodResult {
	var out []MethodResult
	if r.SPF != nil {
		identity := Property{"smtp", "mailfrom", s.Sender}
		if s.Sender == "" {
			identity = Property{"smtp", "helo", s.Helo}
		}
		out = append(out, spfResult(r.SPF, identity))
	}
	if r.HELO != nil {
		out = append(out, spfResult(r.HELO, Property{"smtp", "helo", s.Helo}))
	}
	out = append(out, dkimResults(r.DKIM)...)
	if r.ARC != nil && r.ARC.Result != arc.None {
		out = append(out, arcResult(r.ARC, s.IP))
	}
	if r.DMARC != nil {
		m := dmarcResult(r.DMARC)
		if r.Override != nil {
			m.Reason += "; " + r.Override.note()
		}
		out = append(out, m)
	}
	return out
}

// spfResult is RFC 8601 section 2.7.2.
func spfResult(r *spf.Report, identity Property) MethodResult {
	m := MethodResult{Method: "spf", Value: string(r.Result), Properties: []Property{identity}}
	if r.Result != spf.Pass {
		m.Reason = r.Reason
	}
	return m
}

// dmarcResult is RFC 9989 sections 9.1 and 9.2. policy.dmarc is what the owner wants done with this message, when it fails.
func dmarcResult(r *dmarc.Report) MethodResult {
	m := MethodResult{Method: "dmarc", Value: string(r.Result)}
	if r.Result != dmarc.Pass {
		m.Reason = r.Reason
	}
	if r.Differ != "" {
		m.Reason = r.Differ
	}
	if r.From != "" {
		m.Properties = append(m.Properties, Property{"header", "from", r.From})
	}
	if r.Result == dmarc.Fail || r.Disposition != dmarc.NoPolicy {
		m.Properties = append(m.Properties, Property{"policy", "dmarc", string(r.Disposition)})
	}
	return m
}

// dkimResults puts DKIM results into the form of RFC 8601 section 2.7.1 and
// RFC 6008.
func dkimResults(results []dkim.Result) []MethodResult {
	if len(results) == 0 {
		return []MethodResult{{Method: "dkim", Value: string(dkim.None)}}
	}
	var out []MethodResult
	unseen := 0
	for _, r := range results {
		if r.Domain == "" && r.Verdict == dkim.Neutral {
			// One line stands for all that are over the limit.
			if unseen++; unseen > 1 {
				continue
			}
		}
		m := MethodResult{Method: "dkim", Value: string(r.Verdict), Reason: r.Reason}
		add := func(name, value string) {
			if value != "" {
				m.Properties = append(m.Properties, Property{"header", name, value})
			}
		}
		add("d", r.Domain)
		if r.Identifier != "@"+r.Domain {
			add("i", r.Identifier)
		}
		add("s", r.Selector)
		add("a", r.Algorithm)
		add("b", r.B)
		out = append(out, m)
	}
	return out
}
