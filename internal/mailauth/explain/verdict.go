package explain

import (
	"fmt"
	"slices"
	"strings"

	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/mailauth"
	"pennypost/internal/spf"
)

// verdict says in one sentence what became of the message and why.
func verdict(r *mailauth.Report, in Input) Step {
	l := list{common: Step{Method: "verdict"}}
	d := r.DMARC
	if d == nil {
		l.add("verdict", 0, "%s", unasked(r, in.Session))
		return l.steps[0]
	}
	l.add("verdict", 0, "%s", sentence(r, in.Damage)).came(string(d.Result)).
		note("disposition", string(d.Disposition)).note("author", d.From)
	return l.steps[0]
}

// unasked is the sentence where DMARC was not asked.
func unasked(r *mailauth.Report, s mailauth.Session) string {
	who := "The message goes on"
	if s.Trusted {
		who = "The message is of a user of this host and goes on"
	}
	for i := range r.DKIM {
		if r.DKIM[i].Counts() {
			return fmt.Sprintf("%s; the signature of %s holds.", who, r.DKIM[i].Domain)
		}
	}
	return who + "; no signature vouches for it."
}

func sentence(r *mailauth.Report, damage []dkim.Damage) string {
	d := r.DMARC
	switch {
	case d.Result == dmarc.Pass:
		return fmt.Sprintf("The message is vouched for by %s: %s.", d.From, d.Reason)
	case d.Result == dmarc.TempError:
		return fmt.Sprintf("Whether the message is from %s cannot be told now: %s.", d.From, d.Reason)
	case d.Result == dmarc.PermError && d.From == "":
		return fmt.Sprintf("The message is to be rejected, whatever anybody's policy: %s.", d.Reason)
	case d.Result == dmarc.PermError:
		return fmt.Sprintf("The policy of %s cannot be used: %s; %s.", d.From, d.Reason, evidence(r, damage))
	case d.Result == dmarc.None:
		return fmt.Sprintf("No policy of %s says what to do with the message: %s; %s.", d.From, d.Reason, evidence(r, damage))
	}
	return fmt.Sprintf("Nothing vouches for %s: %s; %s.", d.From, evidence(r, damage), consequence(r))
}

// consequence is what is to be done with a message that fails.
func consequence(r *mailauth.Report) string {
	d := r.DMARC
	switch {
	case r.Override != nil:
		return fmt.Sprintf("but %s, who is trusted, found that it passed before it was changed, so it goes on", r.Override.Sealer)
	case d.Policy != "" && d.Policy != d.Disposition:
		return fmt.Sprintf("its owner only tests the policy %s (%s of %s), so that it is %s now",
			d.Policy, or(d.Tag, "p"), d.PolicyDomain, d.Disposition)
	case d.Disposition == dmarc.Reject:
		return fmt.Sprintf("its owner wants such mail rejected (%s of %s)", d.Tag, d.PolicyDomain)
	case d.Disposition == dmarc.Quarantine:
		return fmt.Sprintf("its owner wants such mail in quarantine (%s of %s)", d.Tag, d.PolicyDomain)
	}
	return "its owner wants nothing done about it"
}

// evidence is what SPF and each signature say of domains, in one part of a sentence.
func evidence(r *mailauth.Report, damage []dkim.Damage) string {
	aligned := func(domain string) string {
		for _, a := range r.DMARC.Alignments {
			if a.Domain == domain && a.Pass && !a.Aligned {
				return ", which is not aligned"
			}
		}
		return ""
	}
	var parts []string
	switch {
	case r.SPF == nil:
		parts = append(parts, "SPF was not asked")
	case r.SPF.Result == spf.Pass:
		parts = append(parts, fmt.Sprintf("SPF passes for %s%s", r.SPF.Domain, aligned(r.SPF.Domain)))
	default:
		parts = append(parts, fmt.Sprintf("SPF says %s for %s", r.SPF.Result, or(r.SPF.Domain, "no domain")))
	}
	const most = 3 // signatures, so that it stays a sentence
	for i := range r.DKIM[:min(most, len(r.DKIM))] {
		s := &r.DKIM[i]
		what := "that of " + or(s.Domain, "nobody")
		if i == 0 {
			what = "the signature of " + or(s.Domain, "nobody")
		}
		parts = append(parts, what+" "+held(s, damageOf(damage, i))+aligned(s.Domain))
	}
	if len(r.DKIM) == 0 {
		parts = append(parts, "there is no signature")
	} else if len(r.DKIM) > most {
		parts = append(parts, fmt.Sprintf("and %d more", len(r.DKIM)-most))
	}
	return strings.Join(parts, ", ")
}

func held(s *dkim.Result, d dkim.Damage) string {
	switch {
	case s.Counts():
		return "holds"
	case s.Verdict == dkim.Pass:
		return "holds for a part of the body only"
	case s.Verdict == dkim.Fail:
		return "does not hold (" + s.Reason + explained(s, d) + ")"
	}
	return fmt.Sprintf("does not count (%s: %s)", s.Verdict, s.Reason)
}

// explained says how a signature would match, if that is known of all that does not.
func explained(s *dkim.Result, d dkim.Damage) string {
	if !s.BodyOK && len(d.Body) == 0 || !s.HeaderOK && len(d.Header) == 0 {
		return ""
	}
	return fmt.Sprintf(", but would if %s", undone(append(slices.Clip(d.Body), d.Header...)))
}
