// Package lint looks for mistakes in what a domain publishes about its mail: SPF, DKIM keys, DMARC, MTA-STS, TLS-RPT,
// BIMI and the MX records that some of them are about.
//
// It hides what each record has to be and who asks for what. It guarantees that a finding of level Error is a fault for
// anyone who follows the RFCs, seen in records that are there (a DNS that does not answer is Trouble, never a fault), and
// that what stands in a finding is for people: texts in it come from outside and have to be escaped.
//
// The rules are those of spf, dkim, dmarc and route, which the checks of mail use as well.
package lint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
	"pennypost/internal/route"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	Error   Level = "error"   // mail will be refused or go unprotected, or a record does not count
	Warning Level = "warning" // it works, but not everywhere, or does less than it seems
	Note    Level = "note"    // what is there
	Trouble Level = "trouble" // something could not be found out now
)

// Finding is one thing seen.
type Finding struct {
	Level Level  `json:"level"`
	Check string `json:"check"`          // spf, dkim, dmarc, mx, mta-sts, tls-rpt, bimi, zone
	Name  string `json:"name,omitempty"` // where the record stands
	Text  string `json:"text"`
}

// Limits of a report: of what a domain that is made to have many mistakes gets, and of the time until what is left is Trouble.
const (
	maxFindings = 500
	maxTime     = 2 * time.Minute
)

// Options are where to look.
type Options struct {
	Resolver *resolver.Resolver
	// Offline means that the resolver knows only the domain itself: that another name is not there says nothing.
	Offline bool
	// Names are all that are known, where the resolver is Offline.
	Names []string
	// Selectors are the names of the DKIM keys. None: those among Names, or some that are common are tried.
	Selectors []string
	// Policy gets the MTA-STS policy of a domain that announces one; nil: it cannot be had.
	Policy PolicyFunc
}

// PolicyFunc finds the MTA-STS policy of a domain; nil is none.
type PolicyFunc func(ctx context.Context, domain string) (*route.Policy, error)

// linter is one run over a domain.
type linter struct {
	ctx      context.Context
	o        Options
	domain   string
	findings []Finding
}

// Domain looks at all that a domain publishes.
func Domain(ctx context.Context, domain string, o Options) ([]Finding, error) {
	name, err := envelope.ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	a, err := (envelope.Address{Local: "postmaster", Domain: name}).ASCII()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	l := &linter{ctx: ctx, o: o, domain: a.Domain}
	hosts := l.mx()
	l.spf()
	l.dkim()
	policy := l.dmarc()
	l.sts(hosts)
	l.tlsrpt()
	l.bimi(policy)
	return l.findings, nil
}

// say notes a finding, once.
func (l *linter) say(level Level, check, name, format string, a ...any) {
	f := Finding{level, check, name, fmt.Sprintf(format, a...)}
	if len(l.findings) < maxFindings && !slices.Contains(l.findings, f) {
		l.findings = append(l.findings, f)
	}
}

// sayAll notes what is wrong with the record at a name.
func (l *linter) sayAll(name string, found []Finding) {
	for _, f := range found {
		l.say(f.Level, f.Check, name, "%s", f.Text)
	}
}

// inside tells whether a name belongs to the domain.
func (l *linter) inside(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == l.domain || strings.HasSuffix(name, "."+l.domain)
}

// known sorts an answer: true when err says how things are, nil or that there is nothing. end is where aliases led to, if
// there were any. Trouble is noted.
func (l *linter) known(check, name, end string, err error) bool {
	var e *resolver.Error
	what := "it"
	if end = strings.TrimSuffix(end, "."); end != "" && !strings.EqualFold(end, name) {
		what = end + ", to which an alias leads,"
	} else {
		end = name
	}
	switch {
	case err == nil:
		return true
	case !errors.As(err, &e) || e.Temporary():
		l.say(Trouble, check, name, "%v", err)
		return false
	case l.o.Offline && e.Kind == resolver.NXDomain && !l.inside(end):
		l.say(Note, check, name, "%s is not in the zone, so nothing is known of it", what)
		return false
	}
	return true
}

// txt asks for texts; false: it is not known whether there are any.
func (l *linter) txt(check, name string) ([]string, bool) {
	a, err := l.o.Resolver.TXT(l.ctx, name)
	if !l.known(check, name, a.Name, err) {
		return nil, false
	}
	if err != nil {
		return nil, true
	}
	return a.Records, true
}

// one finds the record among texts: one that is, or would be if its beginning were right.
func (l *linter) one(check, name string, texts []string, is func(string) bool) string {
	var found []string
	for _, text := range texts {
		switch {
		case is(text):
			found = append(found, text)
		case kindOf(text) == check:
			l.sayAll(name, rules[check](text)) // which says that it is none
		}
	}
	if len(found) > 1 {
		l.say(Error, check, name, "there are %d records, so none counts", len(found))
		return ""
	}
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// clip shortens what stands in a sentence.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
