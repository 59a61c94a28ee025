package lint

import (
	"net/url"
	"strings"

	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
)

// bimiRecord is section 4.2 of draft-brand-indicators-for-message-identification.
func bimiRecord(text string) []Finding {
	n := pasted("bimi", text)
	if !isBIMI(text) {
		n.say(Error, `%q is not read as a record: it has to begin with exactly "v=BIMI1"`, clip(text))
		return n.found
	}
	tags, err := dkim.ParseTags(text)
	if err != nil {
		n.say(Error, "%v", err)
		return n.found
	}
	logo, ok := tags.Get("l")
	switch {
	case !ok:
		n.say(Error, "it has no l=, the place of the image")
	case logo == "":
		n.say(Note, "l= is empty: the domain has no image on purpose")
		return n.found
	case !isHTTPS(logo):
		n.say(Error, "l=%s is not an https: URL", clip(logo))
	case !strings.HasSuffix(strings.ToLower(logo), ".svg") && !strings.HasSuffix(strings.ToLower(logo), ".svgz"):
		n.say(Warning, "l=%s does not end in .svg", clip(logo))
	}
	switch evidence, _ := tags.Get("a"); {
	case evidence == "":
		n.say(Warning, "it has no a=, the certificate without which most readers show no image")
	case !isHTTPS(evidence):
		n.say(Error, "a=%s is not an https: URL", clip(evidence))
	}
	return n.found
}

func isBIMI(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	return strings.TrimRight(first, " \t") == "v=BIMI1"
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != ""
}

// bimi looks at the record and at what DMARC has to ask for before an image is shown.
func (l *linter) bimi(policy *dmarc.Report) {
	name := "default._bimi." + l.domain
	texts, ok := l.txt("bimi", name)
	record := l.one("bimi", name, texts, isBIMI)
	if !ok || record == "" {
		return
	}
	l.sayAll(name, bimiRecord(record))
	if policy == nil {
		return // and said so
	}
	if policy.Record == nil {
		l.say(Error, "bimi", name, "without a DMARC record no image is shown")
		return
	}
	switch r := policy.Record; {
	case policy.Policy != dmarc.Quarantine && policy.Policy != dmarc.Reject:
		l.say(Error, "bimi", name, "no image is shown unless DMARC asks for quarantine or reject; it asks for %s",
			orNothing(policy.Policy))
	case r.SP == dmarc.NoPolicy:
		l.say(Error, "bimi", name, "no image is shown where DMARC has sp=none")
	case r.Pct < 100:
		l.say(Error, "bimi", name, "no image is shown where DMARC has pct=%d", r.Pct)
	case r.Testing:
		l.say(Warning, "bimi", name, "DMARC only tests its policy (t=y)")
	}
}

func orNothing(p dmarc.Policy) string {
	if p == "" {
		return "nothing"
	}
	return string(p)
}
