// Package spf tells whether a host may send mail in the name of a domain (RFC 7208).
//
// It hides records, macros and the order of things. It guarantees that a record is read whole before any of it counts,
// so that an error in its last term is found whoever asks; that the work is bounded whatever a domain publishes (the
// limits of section 4.6.4, and time); that trouble with the DNS is TempError and never a verdict; and that all that
// was asked and seen stands in the report, as data.
//
// RFC 7208, and RFC 8616 for domains in U-labels and local parts that are not ASCII.
package spf

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/resolver"
)

// Result is the answer, RFC 7208 section 2.6.
type Result string

// The results, as they are written in header fields.
const (
	None      Result = "none"      // no domain to ask, or it publishes no record
	Neutral   Result = "neutral"   // the domain does not say
	Pass      Result = "pass"      // the host may
	Fail      Result = "fail"      // the host may not
	SoftFail  Result = "softfail"  // the host probably may not
	TempError Result = "temperror" // the DNS could not be asked now
	PermError Result = "permerror" // the record is broken
)

// Scope is the identity that is checked, RFC 7208 sections 2.3 and 2.4.
type Scope string

// The scopes, as Received-SPF names them.
const (
	MailFrom Scope = "mailfrom"
	Helo     Scope = "helo"
)

// The limits of RFC 7208 section 4.6.4, and how long an identity or an explanation, in bytes, and the list of steps may be.
const (
	MaxLookups     = 10
	MaxVoids       = 2
	MaxMX          = 10 // hosts of one mx term; more are an error
	MaxPTR         = 10 // names of an address; further ones are not looked at
	MaxTime        = 20 * time.Second
	MaxIdentity    = 1024
	MaxExplanation = 1024
	MaxSteps       = 2000 // what is noted of terms that ask nothing and do not match; the others always are
)

// Query is what is asked.
type Query struct {
	IP       netip.Addr // of the client; an IPv4-mapped one is IPv4
	Helo     string     // as the client said it
	Sender   string     // the address of MAIL FROM without brackets; "" is the null sender: postmaster@ the HELO name
	Receiver string     // who asks, for %{r}; "" is "unknown"
	Scope    Scope      // "" is MailFrom; with Helo the sender is not looked at
}

// DNS answers questions; a *resolver.Resolver does.
type DNS interface {
	TXT(ctx context.Context, name string) (resolver.Answer[string], error)
	MX(ctx context.Context, name string) (resolver.Answer[resolver.MX], error)
	PTR(ctx context.Context, addr netip.Addr) (resolver.Answer[string], error)
	Addresses(ctx context.Context, name string, want4, want6 bool) (resolver.Answer[netip.Addr], error)
}

// Options are how to find out. Zero limits are those of the RFC.
type Options struct {
	Resolver   DNS
	MaxLookups int
	MaxVoids   int
	Timeout    time.Duration // for the whole evaluation; 0 is MaxTime
	Now        time.Time     // for %{t}; zero is the clock
}

// Report is the answer and how it came about. Texts in it come from outside: escape them before they are shown.
type Report struct {
	Result      Result `json:"result"`
	Reason      string `json:"reason"` // why, for people
	Scope       Scope  `json:"scope"`
	Domain      string `json:"domain"`              // that was asked, in A-labels; "" if there was none to ask
	Sender      string `json:"sender"`              // as the macros saw it
	Mechanism   string `json:"mechanism,omitempty"` // the term that matched, as published
	Explanation string `json:"explanation,omitempty"`
	Lookups     int    `json:"lookups"`
	Voids       int    `json:"voids"`
	Steps       []Step `json:"steps"`
}

// Step is one thing done, in order: the fetching of a record (Term is "") or one of its terms.
type Step struct {
	Depth     int        `json:"depth"`            // 0, and one more inside each include
	Domain    string     `json:"domain"`           // whose record it is
	Record    string     `json:"record,omitempty"` // when it was fetched
	Term      string     `json:"term,omitempty"`   // as published
	Target    string     `json:"target,omitempty"` // the domain it is about, macros expanded
	Questions []Question `json:"questions,omitempty"`
	Lookups   int        `json:"lookups"` // so far, of MaxLookups
	Voids     int        `json:"voids"`   // so far, of MaxVoids
	Matched   bool       `json:"matched"`
	Note      string     `json:"note,omitempty"` // what there is to say about it
}

// Question is one question to the DNS and its answer.
type Question struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Answers []string `json:"answers,omitempty"`
	Error   string   `json:"error,omitempty"`
	Void    bool     `json:"void,omitempty"` // there is no such domain, or no such record
}

// Evaluate is check_host() of RFC 7208 section 4 for an identity: q's sender, its HELO name where that is null or q
// asks for it. There is always a report.
func Evaluate(ctx context.Context, q Query, o Options) *Report {
	if o.Timeout == 0 {
		o.Timeout = MaxTime
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	e := newEvaluation(ctx, q, o)
	r := &Report{Scope: e.scope, Domain: e.domain, Sender: e.local + "@" + e.domain}
	out := e.start(q)
	r.Result, r.Reason, r.Mechanism = out.result, out.reason, out.term
	if out.result == Fail {
		r.Explanation = e.explain(out)
	}
	r.Lookups, r.Voids = e.lookups, e.voids
	r.Steps = e.steps.all()
	return r
}

func newEvaluation(ctx context.Context, q Query, o Options) *evaluation {
	e := &evaluation{
		ctx: ctx, dns: o.Resolver, ip: q.IP.Unmap().WithZone(""), helo: ascii(q.Helo), receiver: q.Receiver, now: o.Now,
		maxLookups: o.MaxLookups, maxVoids: o.MaxVoids,
	}
	if e.maxLookups == 0 {
		e.maxLookups = MaxLookups
	}
	if e.maxVoids == 0 {
		e.maxVoids = MaxVoids
	}
	if e.now.IsZero() {
		e.now = time.Now()
	}
	if e.receiver == "" {
		e.receiver = "unknown"
	}
	e.scope, e.local, e.domain = identity(q)
	return e
}

// identity is who is checked: RFC 7208 sections 2.3, 2.4 and 4.3. The last "@" divides, since a quoted local part may
// hold others.
func identity(q Query) (scope Scope, local, domain string) {
	if q.Scope == Helo {
		return Helo, "postmaster", ascii(q.Helo)
	}
	if q.Sender == "" {
		return MailFrom, "postmaster", ascii(q.Helo)
	}
	at := strings.LastIndexByte(q.Sender, '@')
	if at < 0 {
		return MailFrom, q.Sender, ""
	}
	local = q.Sender[:at]
	if local == "" {
		local = "postmaster"
	}
	return MailFrom, local, ascii(q.Sender[at+1:])
}

// ascii is a domain in A-labels (RFC 8616 section 4), without its final dot; what is none stays as it is.
func ascii(domain string) string {
	domain = strings.TrimSuffix(domain, ".")
	if isASCII(domain) || len(domain) > MaxIdentity {
		return domain
	}
	if a, err := (envelope.Address{Local: "postmaster", Domain: domain}).ASCII(); err == nil {
		return a.Domain
	}
	return domain
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// malformed says why a name cannot be a domain that publishes a record (RFC 7208 section 4.3), "" if it can.
func malformed(domain string) string {
	switch {
	case domain == "":
		return "there is no domain"
	case !isASCII(domain):
		return "the domain is not a valid name"
	case domain[0] == '[':
		return "an address literal is not a domain"
	case !askable(domain):
		return "the domain has a label that is empty or too long"
	case !strings.Contains(domain, "."):
		return "the domain has only one label"
	case strings.Trim(domain[strings.LastIndexByte(domain, '.')+1:], "0123456789") == "":
		return "an address is not a domain"
	}
	return ""
}

// askable tells whether a name fits into a question: labels of 1 to 63 bytes, 253 in all.
func askable(name string) bool {
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}
