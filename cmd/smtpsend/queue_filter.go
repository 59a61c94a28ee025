package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"pennypost/internal/envelope"
	"pennypost/internal/queue"
)

// filter chooses entries and recipients.
type filter struct {
	sender, recipient, domain, reply string
	older, younger                   time.Duration
	held                             bool
}

func (f *filter) flags(s *pflag.FlagSet) {
	s.StringVar(&f.sender, "sender", "", "only entries whose sender contains `TEXT`; <> is the null sender")
	s.StringVar(&f.recipient, "recipient", "", "only entries with a recipient who contains `TEXT`")
	s.StringVar(&f.domain, "domain", "", "only entries with a recipient in `DOMAIN`; .DOMAIN takes what is below it too")
	s.StringVar(&f.reply, "reply", "", "only entries with a recipient whose last reply contains `TEXT`")
	s.DurationVar(&f.older, "older", 0, "only entries that came more than `TIME` ago")
	s.DurationVar(&f.younger, "younger", 0, "only entries that came less than `TIME` ago")
	s.BoolVar(&f.held, "held", false, "only entries that are held")
}

// empty tells whether everything is taken.
func (f *filter) empty() bool { return *f == filter{} }

func (f *filter) takes(e *queue.Entry) bool {
	age := time.Since(e.Arrived)
	switch {
	case f.sender == "<>" && !e.Envelope.Sender.IsNull(), f.sender != "<>" && !contains(e.Envelope.Sender.String(), f.sender):
		return false
	case f.older > 0 && age < f.older, f.younger > 0 && age > f.younger, f.held && !e.Held:
		return false
	}
	for _, r := range e.Recipients {
		if f.ofRecipient(r) {
			return true
		}
	}
	return false
}

func (f *filter) ofRecipient(r queue.Recipient) bool {
	if f.recipient == "" && f.domain == "" && f.reply == "" {
		return true
	}
	return contains(r.Address.String(), f.recipient) && inDomain(r.Address, f.domain) && contains(r.Reply, f.reply)
}

func contains(s, part string) bool {
	return part == "" || strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// inDomain compares A-labels without case.
func inDomain(a envelope.Address, domain string) bool {
	if domain == "" {
		return true
	}
	below, dotted := strings.CutPrefix(domain, ".")
	want, err := envelope.Address{Local: "x", Domain: below}.ASCII()
	if err != nil {
		return false
	}
	got, err := a.ASCII()
	if err != nil {
		return false
	}
	d, w := strings.ToLower(got.Domain), strings.ToLower(want.Domain)
	return d == w || dotted && strings.HasSuffix(d, "."+w)
}
