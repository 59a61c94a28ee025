package lint

import (
	"errors"
	"fmt"
	"strings"

	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/lazy"
	"pennypost/internal/route"
	"pennypost/internal/spf"
)

// starts are how the records of a check begin.
var starts = map[string]string{
	"spf": "v=spf1", "dkim": "v=DKIM1", "dmarc": "v=DMARC1", "mta-sts": "v=STSv1", "tls-rpt": "v=TLSRPTv1", "bimi": "v=BIMI1",
}

// rules are what each kind of record is held against, by itself.
var rules = map[string]func(text string) []Finding{
	"spf": spfRecord, "dkim": dkimRecord, "dmarc": dmarcRecord, "mta-sts": stsRecord, "tls-rpt": reportRecord, "bimi": bimiRecord,
}

const (
	maxString = 255 // bytes of one character string, RFC 1035 section 3.3
	maxText   = 64 << 10
)

// Record looks at one record by itself, as text, or as it stands in a zone file. It asks nobody.
func Record(text string) ([]Finding, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("a record of more than %d bytes", maxText)
	}
	record, found := unwrap(text)
	if record == "" {
		return nil, errors.New("there is no record")
	}
	kind := kindOf(record)
	rule := rules[kind]
	if rule == nil {
		return append(found, Finding{Level: Error, Text: fmt.Sprintf("%q is no record that is known here", clip(record))}), nil
	}
	for i := range found {
		found[i].Check = kind
	}
	return append(found, rule(record)...), nil
}

var (
	versionTag = lazy.Regexp(`(?i)^[\s"';\\]*v\s*=\s*(spf|dkim|dmarc|sts|tlsrpt|bimi)`)
	keyTag     = lazy.Regexp(`(?i)(^|;)\s*p\s*=`)
	keyType    = lazy.Regexp(`(?i)(^|;)\s*k\s*=`)
)

// kindOf is the check a text is meant for, also when it is not quite right; "" if for none.
func kindOf(text string) string {
	m := versionTag().FindStringSubmatch(text)
	switch {
	case m == nil && keyTag().MatchString(text) && keyType().MatchString(text):
		return "dkim"
	case m == nil:
		return ""
	}
	switch kind := strings.ToLower(m[1]); kind {
	case "sts":
		return "mta-sts"
	case "tlsrpt":
		return "tls-rpt"
	default:
		return kind
	}
}

// zoneLine is what stands before the text in a line of a zone file.
var zoneLine = lazy.Regexp(`(?i)^\S*(\s+\d+)?(\s+IN)?(\s+\d+)?\s+TXT\s+`)

// unwrap takes a record out of what it was copied in: a line of a zone file, quotes.
func unwrap(text string) (record string, found []Finding) {
	record = strings.TrimSpace(text)
	wasLine := false
	if prefix := zoneLine().FindString(record); prefix != "" {
		record, wasLine = record[len(prefix):], true
	}
	record = strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(record, "(")), ")")
	if !strings.HasPrefix(record, `"`) {
		if wasLine && strings.Contains(record, ";") {
			found = append(found, Finding{Level: Error, Text: "in a zone file everything from the first semicolon on is a comment: " +
				"the text has to stand in quotes"})
		}
		if len(record) > maxString && !wasLine {
			found = append(found, Finding{Level: Note, Text: fmt.Sprintf("it has %d bytes: in a zone file it has to be split into "+
				"strings of at most %d, as in \"...\" \"...\"", len(record), maxString)})
		}
		return strings.Join(strings.Split(strings.ReplaceAll(record, "\r\n", "\n"), "\n"), " "), found
	}
	var whole strings.Builder
	for _, s := range quotedStrings(record) {
		if len(s) > maxString {
			found = append(found, Finding{Level: Error, Text: tooLong(s)})
		}
		whole.WriteString(s)
	}
	return whole.String(), found
}

func tooLong(s string) string {
	return fmt.Sprintf(`a string of %d bytes, where %d is the most: split it, as in "..." "..." (%q)`, len(s), maxString, clip(s))
}

// quotedStrings are the strings in quotes, their escapes resolved.
func quotedStrings(s string) (out []string) {
	var b strings.Builder
	in := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && in:
			out = append(out, b.String())
			b.Reset()
			in = false
		case c == '"':
			in = true
		case !in:
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	if in {
		out = append(out, b.String())
	}
	return out
}

// notes are the findings about one record.
type notes struct {
	check string
	found []Finding
}

func (n *notes) say(level Level, format string, a ...any) {
	n.found = append(n.found, Finding{Level: level, Check: n.check, Text: fmt.Sprintf(format, a...)})
}

// pasted begins the notes on a record with what happens to records on their way through forms and mail: escapes, quotes,
// two in one.
func pasted(check, text string) *notes {
	n := &notes{check: check}
	if strings.Contains(text, `\;`) {
		n.say(Error, `it has "\;" where ";" is meant: the escape belongs in zone files only`)
	}
	if strings.ContainsAny(text, `"`) {
		n.say(Error, "it has quotes inside: they belong around a string in zone files, not into the record")
	}
	if strings.ContainsAny(text, "\u201c\u201d\u2018\u2019\u2013\u2014\u00a0\u200b\ufeff") {
		n.say(Error, "it has typographic quotes, dashes or spaces, as word processors make them")
	}
	if times := strings.Count(strings.ToLower(text), strings.ToLower(starts[check])); times > 1 {
		n.say(Error, "%q stands in it %d times: two records have become one", starts[check], times)
	}
	return n
}

func spfRecord(text string) []Finding {
	n := pasted("spf", text)
	if !spf.IsRecord(text) {
		n.say(Error, `%q is not read as a record: it has to begin with exactly "v=spf1" and a space`, clip(text))
		return n.found
	}
	record, errs := spf.Check(text)
	for _, err := range errs {
		n.say(Error, "%v", err)
	}
	lookups := n.spfTerms(record.Terms)
	all := hasAll(record)
	switch {
	case all && record.Redirect != nil:
		n.say(Warning, "%s does nothing, since there is an all", record.Redirect.Text)
	case record.Redirect != nil:
		lookups++
	case !all && len(errs) == 0:
		n.say(Warning, "it has neither all nor redirect=, so it says nothing about other hosts")
	}
	if lookups > spf.MaxLookups {
		n.say(Error, "it needs %d look-ups by itself, where %d is the most", lookups, spf.MaxLookups)
	}
	return n.found
}

// spfTerms looks at each term and counts those that are look-ups.
func (n *notes) spfTerms(terms []spf.Term) (lookups int) {
	for i, t := range terms {
		if t.Lookup() {
			lookups++
		}
		switch {
		case t.Name == "ptr":
			n.say(Warning, "%s: ptr is slow and should not be used (RFC 7208 section 5.5)", t.Text)
		case t.Name == "all" && t.Result == spf.Pass:
			n.say(Error, "%s lets everyone send", t.Text)
		case t.Name == "all" && t.Result == spf.Neutral:
			n.say(Warning, "%s says nothing about other hosts", t.Text)
		case t.Prefix.IsValid() && t.Prefix.Bits() < enoughBits(t.Name):
			n.say(Warning, "%s is a large part of the Internet", t.Text)
		}
		if t.Name == "all" && i < len(terms)-1 {
			n.say(Warning, "what stands behind %s is never reached: %s", t.Text, terms[i+1].Text)
		}
	}
	return lookups
}

// enoughBits is the length from which on a network can be that of one sender.
func enoughBits(mechanism string) int {
	if mechanism == "ip4" {
		return 8
	}
	return 20
}

func hasAll(r *spf.Record) bool {
	for i := range r.Terms {
		if r.Terms[i].Name == "all" {
			return true
		}
	}
	return false
}

func dkimRecord(text string) []Finding {
	n := pasted("dkim", text)
	if strings.Contains(text, "-----BEGIN") {
		n.say(Error, "p= holds the lines of a PEM file: only what stands between BEGIN and END belongs there")
		return n.found
	}
	tags, _ := dkim.ParseTags(text)
	p, _ := tags.Get("p")
	if strings.ContainsAny(p, " \t") {
		n.say(Warning, "p= holds blanks, which some programs do not accept")
	}
	if v, ok := tags.Get("v"); !ok {
		n.say(Note, "it has no v=DKIM1, which may be left out")
	} else if v != "DKIM1" {
		n.say(Error, "v=%s: it has to be v=DKIM1, in that spelling", clip(v))
	}
	if k, _ := tags.Get("k"); k != strings.ToLower(k) {
		n.say(Warning, "k=%s: in lower case it is understood by more programs", clip(k))
	}
	if _, ok := tags.Get("g"); ok {
		n.say(Warning, "g= is obsolete (RFC 6376 appendix C)")
	}
	key, err := dkim.ParseKey(text)
	switch {
	case err != nil && tags != nil && p == "" && strings.Contains(text, "p="):
		n.say(Note, "the key is revoked: p= is empty")
	case err != nil:
		n.say(Error, "%v", err)
	default:
		n.strength(key)
	}
	return n.found
}

// strength is what there is to say about a key that can be read.
func (n *notes) strength(key *dkim.Key) {
	algorithm := dkim.Algorithm(key.Public)
	if err := key.Allows(algorithm); err != nil {
		n.say(Error, "%v", err)
	}
	switch rsa := strings.HasPrefix(algorithm, "rsa"); {
	case !rsa:
		n.say(Note, "an Ed25519 key; those who do not know it need an RSA key beside it")
	case key.Bits < 1024:
		n.say(Error, "the key has %d bits: less than 1024 is not accepted (RFC 8301)", key.Bits)
	case key.Bits < 2048:
		n.say(Warning, "the key has %d bits: 2048 is the least that should be made (RFC 8301)", key.Bits)
	case key.Bits > 4096:
		n.say(Warning, "the key has %d bits: not everyone checks more than 4096", key.Bits)
	default:
		n.say(Note, "an RSA key of %d bits", key.Bits)
	}
	if key.Testing {
		n.say(Warning, "t=y: the domain only tests, and a signature counts as none")
	}
}

func dmarcRecord(text string) []Finding {
	n := pasted("dmarc", text)
	r, ok := dmarc.ParseRecord(text)
	if !ok {
		n.say(Error, `%q is not read as a record: it has to begin with exactly "v=DMARC1" and a semicolon`, clip(text))
		return n.found
	}
	for _, p := range r.Problems {
		n.say(Warning, "%s", p)
	}
	switch {
	case r.P == "" && len(r.RUA) == 0:
		n.say(Error, "there is no usable p= and nobody to report to, so the record does nothing")
	case r.P == "":
		n.say(Warning, "there is no usable p=, so nothing is asked for")
	case r.P == dmarc.NoPolicy:
		n.say(Warning, "p=none asks for nothing to be done about forged mail")
	default:
		n.say(Note, "p=%s", r.P)
	}
	if weaker(r.SP, r.P) {
		n.say(Warning, "sp=%s: mail in the name of a subdomain is treated more mildly than that of the domain", r.SP)
	}
	if r.Testing {
		n.say(Warning, "t=y: the policy is only tested, and one step milder")
	}
	if len(r.RUA) == 0 {
		n.say(Warning, "there is no rua=, so nobody learns what others see")
	}
	return n.found
}

// weaker tells whether a policy that is set is milder than another.
func weaker(a, b dmarc.Policy) bool {
	order := map[dmarc.Policy]int{"": 0, dmarc.NoPolicy: 1, dmarc.Quarantine: 2, dmarc.Reject: 3}
	return a != "" && order[a] < order[b]
}

func stsRecord(text string) []Finding {
	n := pasted("mta-sts", text)
	if id, err := route.ParseSTSRecord([]string{text}); err != nil || id == "" {
		if err == nil {
			err = errors.New(`it has to begin with exactly "v=STSv1;"`)
		}
		n.say(Error, "%v", err)
	}
	return n.found
}

func reportRecord(text string) []Finding {
	n := pasted("tls-rpt", text)
	if r, err := route.ParseReport([]string{text}); err != nil || r == nil {
		if err == nil {
			err = errors.New(`it has to begin with exactly "v=TLSRPTv1;"`)
		}
		n.say(Error, "%v", err)
	}
	return n.found
}
