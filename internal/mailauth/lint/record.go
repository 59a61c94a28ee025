package lint

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
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
	versionTag = regexp.MustCompile(`(?i)^[\s"';\\]*v\s*=\s*(spf|dkim|dmarc|sts|tlsrpt|bimi)`)
	keyTag     = regexp.MustCompile(`(?i)(^|;)\s*p\s*=`)
	keyType    = regexp.MustCompile(`(?i)(^|;)\s*k\s*=`)
)

// kindOf is the check a text is meant for, also when it is not quite right; "" if for none.
func kindOf(text string) string {
	m := versionTag.FindStringSubmatch(text)
	switch {
	case m == nil && keyTag.MatchString(text) && keyType.MatchString(text):
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
var zoneLine = regexp.MustCompile(`(?i)^\S*(\s+\d+)?(\s+IN)?(\s+\d+)?\s+TXT\s+`)

// unwrap takes a record out of what it was copied in: a line of a zone file, quotes.
func unwrap(text string) (record string, found []Finding) {
	record = strings.TrimSpace(text)
	wasLine := false
	if prefix := zoneLine.FindString(record); prefix != "" {
		record, wasLine = record[len(prefix):], true
	}
	record = strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(record, "(")), ")")
	if !strings.HasPrefix(record, `"`) {
		if wasLine && strings.Contains(record, ";") {
			found = append(found, Finding{Level: Error, Text: "in a zone file everything from the first semicolon on is a comment: " +
				"the text has to stand in quotes"})
		}
		if len(record) > maxString && !wasLine {
			found = append(found, Finding{Level: Note, Text: fmt.Sprintf("it has %d bytes: in a zone file it has to be split into strings "+
				"of at most %d, as in \"...\" \"...\"", len(record), maxString)})
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
	return fmt.Sprintf("a string of %d bytes, where %d is the most: split it, as in \"...\" \"...\" (%q)", len(s), maxString, clip(s))
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

// pasted finds what happens to records on their way through forms and mail: escapes, quotes, two in one.
func pasted(check, text string) (found []Finding) {
	say := func(format string, a ...any) {
		found = append(found, Finding{Level: Error, Check: check, Text: fmt.Sprintf(format, a...)})
	}
	if strings.Contains(text, `\;`) {
		say(`it has "\;" where ";" is meant: the escape belongs in zone files only`)
	}
	if strings.ContainsAny(text, `"`) {
		say("it has quotes inside: they belong around a string in zone files, not into the record")
	}
	if strings.ContainsAny(text, "\u201c\u201d\u2018\u2019\u2013\u2014\u00a0\u200b\ufeff") {
		say("it has typographic quotes, dashes or spaces, as word processors make them")
	}
	if n := strings.Count(strings.ToLower(text), strings.ToLower(starts[check])); n > 1 {
		say("%q stands in it %d times: two records have become one", starts[check], n)
	}
	return found
}

func spfRecord(text string) []Finding {
	found := pasted("spf", text)
	say := func(level Level, format string, a ...any) {
		found = append(found, Finding{Level: level, Check: "spf", Text: fmt.Sprintf(format, a...)})
	}
	if !spf.IsRecord(text) {
		say(Error, `%q is not read as a record: it has to begin with exactly "v=spf1" and a space`, clip(text))
		return found
	}
	record, errs := spf.Check(text)
	for _, err := range errs {
		say(Error, "%v", err)
	}
	lookups := 0
	for i, t := range record.Terms {
		if t.Lookup() {
			lookups++
		}
		switch {
		case t.Name == "ptr":
			say(Warning, "%s: ptr is slow and should not be used (RFC 7208 section 5.5)", t.Text)
		case t.Name == "all" && t.Result == spf.Pass:
			say(Error, "%s lets everyone send", t.Text)
		case t.Name == "all" && t.Result == spf.Neutral:
			say(Warning, "%s says nothing about other hosts", t.Text)
		case t.Prefix.IsValid() && t.Prefix.Addr().Is4() && t.Prefix.Bits() < 8, t.Prefix.IsValid() && t.Prefix.Addr().Is6() && t.Prefix.Bits() < 16:
			say(Warning, "%s is a large part of the Internet", t.Text)
		}
		if t.Name == "all" && i < len(record.Terms)-1 {
			say(Warning, "what stands behind %s is never reached: %s", t.Text, record.Terms[i+1].Text)
		}
	}
	all := hasAll(record)
	switch {
	case all && record.Redirect != nil:
		say(Warning, "%s does nothing, since there is an all", record.Redirect.Text)
	case record.Redirect != nil:
		lookups++
	case !all && len(errs) == 0:
		say(Warning, "it has neither all nor redirect=, so it says nothing about other hosts")
	}
	if lookups > spf.MaxLookups {
		say(Error, "it needs %d look-ups by itself, where %d is the most", lookups, spf.MaxLookups)
	}
	return found
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
	found := pasted("dkim", text)
	say := func(level Level, format string, a ...any) {
		found = append(found, Finding{Level: level, Check: "dkim", Text: fmt.Sprintf(format, a...)})
	}
	if strings.Contains(text, "-----BEGIN") {
		say(Error, "p= holds the lines of a PEM file: only what stands between BEGIN and END belongs there")
		return found
	}
	tags, _ := dkim.ParseTags(text)
	p, _ := tags.Get("p")
	if strings.ContainsAny(p, " \t") {
		say(Warning, "p= holds blanks, which some programs do not accept")
	}
	if v, ok := tags.Get("v"); !ok {
		say(Note, "it has no v=DKIM1, which may be left out")
	} else if v != "DKIM1" {
		say(Error, "v=%s: it has to be v=DKIM1, in that spelling", clip(v))
	}
	if k, _ := tags.Get("k"); k != strings.ToLower(k) {
		say(Warning, "k=%s: in lower case it is understood by more programs", clip(k))
	}
	if _, ok := tags.Get("g"); ok {
		say(Warning, "g= is obsolete (RFC 6376 appendix C)")
	}
	key, err := dkim.ParseKey(text)
	switch {
	case err != nil && tags != nil && p == "" && strings.Contains(text, "p="):
		say(Note, "the key is revoked: p= is empty")
	case err != nil:
		say(Error, "%v", err)
	default:
		found = append(found, strength(key)...)
	}
	return found
}

// strength is what there is to say about a key that can be read.
func strength(key *dkim.Key) (found []Finding) {
	say := func(level Level, format string, a ...any) {
		found = append(found, Finding{Level: level, Check: "dkim", Text: fmt.Sprintf(format, a...)})
	}
	algorithm := dkim.Algorithm(key.Public)
	if err := key.Allows(algorithm); err != nil {
		say(Error, "%v", err)
	}
	switch rsa := strings.HasPrefix(algorithm, "rsa"); {
	case !rsa:
		say(Note, "an Ed25519 key; those who do not know it need an RSA key beside it")
	case key.Bits < 1024:
		say(Error, "the key has %d bits: less than 1024 is not accepted (RFC 8301)", key.Bits)
	case key.Bits < 2048:
		say(Warning, "the key has %d bits: 2048 is the least that should be made (RFC 8301)", key.Bits)
	case key.Bits > 4096:
		say(Warning, "the key has %d bits: not everyone checks more than 4096", key.Bits)
	default:
		say(Note, "an RSA key of %d bits", key.Bits)
	}
	if key.Testing {
		say(Warning, "t=y: the domain only tests, and a signature counts as none")
	}
	return found
}

func dmarcRecord(text string) []Finding {
	found := pasted("dmarc", text)
	say := func(level Level, format string, a ...any) {
		found = append(found, Finding{Level: level, Check: "dmarc", Text: fmt.Sprintf(format, a...)})
	}
	r, ok := dmarc.ParseRecord(text)
	if !ok {
		say(Error, `%q is not read as a record: it has to begin with exactly "v=DMARC1" and a semicolon`, clip(text))
		return found
	}
	for _, p := range r.Problems {
		say(Warning, "%s", p)
	}
	switch {
	case r.P == "" && len(r.RUA) == 0:
		say(Error, "there is no usable p= and nobody to report to, so the record does nothing")
	case r.P == "":
		say(Warning, "there is no usable p=, so nothing is asked for")
	case r.P == dmarc.NoPolicy:
		say(Warning, "p=none asks for nothing to be done about forged mail")
	default:
		say(Note, "p=%s", r.P)
	}
	if weaker(r.SP, r.P) {
		say(Warning, "sp=%s: mail in the name of a subdomain is treated more mildly than that of the domain", r.SP)
	}
	if r.Testing {
		say(Warning, "t=y: the policy is only tested, and one step milder")
	}
	if len(r.RUA) == 0 {
		say(Warning, "there is no rua=, so nobody learns what others see")
	}
	return found
}

// weaker tells whether a policy that is set is milder than another.
func weaker(a, b dmarc.Policy) bool {
	order := map[dmarc.Policy]int{"": 0, dmarc.NoPolicy: 1, dmarc.Quarantine: 2, dmarc.Reject: 3}
	return a != "" && order[a] < order[b]
}

func stsRecord(text string) []Finding {
	found := pasted("mta-sts", text)
	if id, err := route.ParseSTSRecord([]string{text}); err != nil || id == "" {
		if err == nil {
			err = errors.New(`it has to begin with exactly "v=STSv1;"`)
		}
		found = append(found, Finding{Level: Error, Check: "mta-sts", Text: err.Error()})
	}
	return found
}

func reportRecord(text string) []Finding {
	found := pasted("tls-rpt", text)
	if r, err := route.ParseReport([]string{text}); err != nil || r == nil {
		if err == nil {
			err = errors.New(`it has to begin with exactly "v=TLSRPTv1;"`)
		}
		found = append(found, Finding{Level: Error, Check: "tls-rpt", Text: err.Error()})
	}
	return found
}
