// Package mailauth checks where a message comes from and writes down what it
// found: the checks of the lower packages in, an Authentication-Results field
// (RFC 8601) out. Every other byte of the message stays as it is, except that
// fields which only look as if we had written them are taken out.
//
// It guarantees that nothing from a message or a session breaks out of its
// place in a field, and that a result which is not sure is never a pass.
package mailauth

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"pennypost/internal/arc"
	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/message"
	"pennypost/internal/spf"
)

// Session is what is known of how a message came.
type Session struct {
	IP     netip.Addr // of the client; without one SPF is not asked
	Helo   string     // as the client said it; "" when it said nothing
	Sender string     // the address of MAIL FROM without brackets, "" is the null sender
	// Trusted is a client that may send for others here: a user who logged in, a relay of ours. Neither SPF nor DMARC is
	// asked about those.
	Trusted bool
}

// Options is what a check needs to know.
type Options struct {
	// IDs are the authserv-ids of this place. The first is written; fields that
	// bear any of them are removed.
	IDs     []string
	Session Session
	// Resolver is who is asked by SPF and DMARC, and for the keys of DKIM unless DKIM.LookupTXT is set. Without one only
	// signatures are checked.
	Resolver spf.DNS
	DKIM     dkim.VerifyOptions
	Mode     dmarc.Mode // rules of DMARC; "" is RFC 9989
	// Trust are the domains whose ARC seals are believed: what they found before the message was changed on its way can take
	// the place of what DMARC says now, see Override.
	Trust []string
	// ReceivedSPF writes a Received-SPF field too (RFC 7208 section 9.1).
	ReceivedSPF bool
	// Whole lets DMARC look at what the verdict does not need, for those who explain it.
	Whole bool
	Now   time.Time // zero is the clock
}

// Report is what was found. What was not asked is nil.
type Report struct {
	SPF      *spf.Report // of MAIL FROM, or of the HELO name when the sender is null
	HELO     *spf.Report // of the HELO name; nil when the sender is null
	DKIM     []dkim.Result
	ARC      *arc.Report
	DMARC    *dmarc.Report
	Override *Override // why DMARC.Disposition is none though the owner wants something else; nil in all other cases
	// Undecided tells that there might be an Override when the keys of a chain can be fetched again.
	Undecided bool
	Field     AuthRes
	Removed   []message.Field // the forged fields
}

// Verify checks a message and returns it with our fields on top and without the
// forged ones (RFC 8601 section 5). The message returned is a view of m. An
// error means that the message could not be read or ctx ended; trouble with the
// DNS is a result, not an error.
func Verify(ctx context.Context, m *message.Message, o Options) (*message.Message, *Report, error) {
	o.complete()
	r, err := Check(ctx, m, o)
	if err != nil {
		return nil, nil, err
	}
	r.Field = AuthRes{ID: o.IDs[0], Version: 1, Results: r.results(o.Session)}
	top := r.Field.Format()
	ours := 1
	if o.ReceivedSPF && r.SPF != nil {
		top = append(top, receivedSPF(r.SPF, o)...)
		ours++
	}
	m = dkim.Prepend(m, top)
	// With the field on top the header is what a reader will take for it, even
	// if the message had none before.
	header, err := m.Header()
	if err != nil {
		return nil, nil, err
	}
	var cut []message.Span
	for _, f := range header.Fields[ours:] {
		if claims(f, o.IDs) {
			r.Removed = append(r.Removed, f)
			cut = append(cut, f.Span())
		}
	}
	return m.Without(cut), r, nil
}

// Check is Verify without the message: it finds out and writes nothing.
func Check(ctx context.Context, m *message.Message, o Options) (*Report, error) {
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	o.complete()
	r := &Report{}
	var wg sync.WaitGroup
	if s := o.Session; o.Resolver != nil && s.IP.IsValid() && !s.Trusted {
		ask := func(into **spf.Report, scope spf.Scope) {
			wg.Go(func() {
				q := spf.Query{IP: s.IP, Helo: s.Helo, Sender: s.Sender, Receiver: o.IDs[0], Scope: scope}
				*into = spf.Evaluate(ctx, q, spf.Options{Resolver: o.Resolver, Now: o.Now})
			})
		}
		ask(&r.SPF, spf.MailFrom)
		if s.Sender != "" && s.Helo != "" {
			ask(&r.HELO, spf.Helo)
		}
	}
	var chainErr error
	wg.Go(func() { r.ARC, chainErr = arc.Verify(ctx, m, o.DKIM) })
	r.DKIM, err = dkim.Verify(ctx, m, o.DKIM)
	wg.Wait()
	if err = cmp.Or(err, chainErr); err != nil {
		return nil, err
	}
	if o.Resolver != nil && !o.Session.Trusted {
		r.DMARC = dmarc.Evaluate(ctx, header.Fields, r.auths(), dmarc.Options{Resolver: o.Resolver, Mode: o.Mode, Whole: o.Whole})
		r.override(o.Trust)
	}
	return r, ctx.Err()
}

func (o *Options) complete() {
	if len(o.IDs) == 0 {
		o.IDs = []string{"localhost"}
	}
	if o.DKIM.LookupTXT == nil && o.Resolver != nil {
		o.DKIM.LookupTXT = LookupTXT(o.Resolver)
	}
	if o.DKIM.Now.IsZero() {
		o.DKIM.Now = o.Now
	}
}

// LookupTXT is how package dkim asks for keys.
func LookupTXT(dns dmarc.Resolver) func(ctx context.Context, name string) ([]string, error) {
	return func(ctx context.Context, name string) ([]string, error) {
		found, err := dns.TXT(ctx, name)
		return found.Records, err
	}
}

// Attrs are the results for a line of a log: spf, helo, dkim (the different results of all signatures), arc, vouched (the sealer
// of an Override), dmarc, author and disposition, as far as there are any.
func (r *Report) Attrs() []slog.Attr {
	var out []slog.Attr
	add := func(key, value string) {
		if value != "" {
			out = append(out, slog.String(key, value))
		}
	}
	if r.SPF != nil {
		add("spf", string(r.SPF.Result))
	}
	if r.HELO != nil {
		add("helo", string(r.HELO.Result))
	}
	var verdicts []string
	for _, s := range r.DKIM {
		if v := string(s.Verdict); !slices.Contains(verdicts, v) {
			verdicts = append(verdicts, v)
		}
	}
	if len(verdicts) == 0 {
		verdicts = []string{string(dkim.None)}
	}
	add("dkim", strings.Join(verdicts, ","))
	if r.ARC != nil && r.ARC.Result != arc.None {
		add("arc", string(r.ARC.Result))
	}
	if r.Override != nil {
		add("vouched", r.Override.Sealer)
	}
	if r.DMARC != nil {
		add("dmarc", string(r.DMARC.Result))
		add("author", r.DMARC.From)
		add("disposition", string(r.DMARC.Disposition))
	}
	return out
}

// auths is what DMARC needs to know of the others.
func (r *Report) auths() []dmarc.Auth {
	var out []dmarc.Auth
	if r.SPF != nil {
		result := r.SPF.Result
		out = append(out, dmarc.Auth{Method: "spf", Domain: r.SPF.Domain, Pass: result == spf.Pass, Temporary: result == spf.TempError})
	}
	for _, s := range r.DKIM {
		out = append(out, dmarc.Auth{
			Method: "dkim", Domain: s.Domain, Selector: s.Selector, Pass: s.Counts(), Temporary: s.Verdict == dkim.TempError,
		})
	}
	return out
}
