package mailauth

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pennypost/internal/arc"
	"pennypost/internal/dmarc"
	"pennypost/internal/message"
)

// Payload is the content of the field as it is written, perhaps folded: what stands in an ARC-Authentication-Results field after
// its instance (RFC 8617 section 4.1.1).
func (a *AuthRes) Payload() string {
	return strings.TrimSpace(strings.TrimPrefix(string(a.Format()), FieldName+":"))
}

// Sealed is the field as a set holds it: with a result of ARC in any case, which tells who reads the set from which host the
// message came (RFC 8617 section 10.2).
func (r *Report) Sealed(s Session) *AuthRes {
	a := r.Field
	if r.ARC.Result == arc.None && s.IP.IsValid() {
		a.Results = append(slices.Clone(a.Results), arcResult(r.ARC, s.IP))
	}
	return &a
}

// Recorded are the results that stand in a message under an authserv-id, all in one. They are only as good as the care with
// which forged ones were removed before: by Verify, here.
func Recorded(m *message.Message, id string) (*AuthRes, error) {
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	all := &AuthRes{ID: id, Version: 1}
	for _, f := range header.All(FieldName) {
		a, err := ParseAuthRes(f.Value())
		if err == nil && a.Version == 1 && sameHost(a.ID, id) && len(all.Results)+len(a.Results) <= maxResults {
			all.Results = append(all.Results, a.Results...)
		}
	}
	return all, nil
}

// RecordedARC is the result that was recorded for the chain; "" if there is none or more than one.
func RecordedARC(a *AuthRes) arc.Result {
	var found arc.Result
	for _, r := range a.Results {
		switch {
		case r.Method != "arc" || r.Version != 1:
		case found != "":
			return ""
		default:
			found = arc.Result(r.Value)
		}
	}
	return found
}

// Override is why a message that fails DMARC is not treated as the owner of its domain wants: somebody whose seals are trusted
// had it before it was changed, and found that it passed (RFC 8617 section 7.2.1).
type Override struct {
	Instance int    `json:"instance"` // of the set that says so
	Sealer   string `json:"sealer"`   // the domain that sealed it
	Selector string `json:"selector"`
}

// trusted looks for the oldest set in which a trusted sealer found that the author domain passed DMARC. All that had the message
// since must be trusted too, and the newest of them must have signed From: else anybody could have put it there.
func trusted(r *arc.Report, from string, trust []string) *Override {
	first := r.TrustedFrom(trust)
	if first == 0 || from == "" || !r.Sets[len(r.Sets)-1].Message.Covers("From") {
		return nil
	}
	for _, s := range r.Sets[first-1:] {
		if foundPass(s.Results, from) {
			return &Override{s.Instance, s.Seal.Domain, s.Seal.Selector}
		}
	}
	return nil
}

// foundPass says whether the results of a set have DMARC pass for a domain, once and without another result of DMARC.
func foundPass(results, from string) bool {
	a, err := ParseAuthRes(results)
	if err != nil || a.Version != 1 {
		return false
	}
	found := false
	for _, r := range a.Results {
		if r.Method != "dmarc" {
			continue
		}
		if found || r.Version != 1 || r.Value != "pass" || !r.about("header", "from", from) {
			return false
		}
		found = true
	}
	return found
}

// about says whether a property names a domain, and nothing else does.
func (r MethodResult) about(kind, name, domain string) bool {
	found := false
	for _, p := range r.Properties {
		if p.Type != kind || p.Name != name {
			continue
		}
		if found || !sameHost(p.Value, domain) {
			return false
		}
		found = true
	}
	return found
}

// arcResult is RFC 8617 section 10.2.
func arcResult(r *arc.Report, ip netip.Addr) MethodResult {
	m := MethodResult{Method: "arc", Value: string(r.Result), Reason: r.Reason}
	if r.Result == arc.Pass {
		m.Properties = append(m.Properties, Property{"header", "oldest-pass", strconv.Itoa(r.OldestPass)})
	}
	if ip.IsValid() {
		m.Properties = append(m.Properties, Property{"smtp", "remote-ip", ip.Unmap().String()})
	}
	return m
}

// arcFact is the chain as a requirement sees it. The sealer is the newest, who had the message as it is.
func (r *Report) arcFact() fact {
	f := fact{result: string(r.ARC.Result)}
	if r.ARC.Temporary {
		f.result = "temperror"
	}
	if n := len(r.ARC.Sets); n > 0 {
		f.properties = map[string]string{"sealer": r.ARC.Sets[n-1].Seal.Domain}
	}
	return f
}

// override takes back what DMARC wants done if trusted sealers know better.
func (r *Report) override(trust []string) {
	if d := r.DMARC; d.Result == dmarc.Fail && d.Disposition != dmarc.NoPolicy {
		if r.Override = trusted(r.ARC, d.From, trust); r.Override != nil {
			d.Disposition = dmarc.NoPolicy
		}
		if r.ARC.Temporary {
			later := *r.ARC
			later.Result = arc.Pass
			r.Undecided = trusted(&later, d.From, trust) != nil
		}
	}
}

// note is what the result of DMARC says of it (RFC 8617 section 7.2.2).
func (o *Override) note() string {
	return fmt.Sprintf("local policy: arc=pass as[%d].d=%s as[%d].s=%s", o.Instance, o.Sealer, o.Instance, o.Selector)
}
