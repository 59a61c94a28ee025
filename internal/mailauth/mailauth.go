// Package mailauth checks where a message comes from and writes down what it
// found: the checks of the lower packages in, an Authentication-Results field
// (RFC 8601) out. Every other byte of the message stays as it is, except that
// fields which only look as if we had written them are taken out.
package mailauth

import (
	"context"
	"strings"

	"golang.org/x/net/idna"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

// FieldName is the name of the field that is written and removed.
const FieldName = "Authentication-Results"

// Options is what a check needs to know.
type Options struct {
	// IDs are the authserv-ids of this place. The first is written; fields that
	// bear any of them are removed.
	IDs  []string
	DKIM dkim.VerifyOptions
}

// Report is what was found.
type Report struct {
	Field   AuthRes
	DKIM    []dkim.Result
	Removed []message.Field // the forged fields
}

// Verify checks a message and returns it with our field on top and without the
// forged ones (RFC 8601 section 5). The message returned is a view of m. An
// error means that the message could not be read; trouble with the DNS is a
// result, not an error.
func Verify(ctx context.Context, m *message.Message, o Options) (*message.Message, *Report, error) {
	results, err := dkim.Verify(ctx, m, o.DKIM)
	if err != nil {
		return nil, nil, err
	}
	r := &Report{DKIM: results}
	r.Field = AuthRes{ID: o.IDs[0], Version: 1, Results: dkimResults(results)}
	field := r.Field.Format()
	m = dkim.Prepend(m, field)
	// With the field on top the header is what a reader will take for it, even
	// if the message had none before.
	header, err := m.Header()
	if err != nil {
		return nil, nil, err
	}
	var cut []message.Span
	for _, f := range header.Fields[1:] {
		if strings.EqualFold(f.Name, FieldName) && Claims(f.Value(), o.IDs) {
			r.Removed = append(r.Removed, f)
			cut = append(cut, f.Span())
		}
	}
	return m.Without(cut), r, nil
}

// Claims says whether the body of an Authentication-Results field bears one of
// ids, in whatever case, quoting and comments. If its authserv-id cannot be
// read, it does so if one of them stands anywhere in it, since a careless
// reader might find it there.
func Claims(body string, ids []string) bool {
	s := &scanner{in: body}
	id, err := s.value()
	for _, own := range ids {
		if err == nil && sameHost(id, own) {
			return true
		}
		if err != nil && strings.Contains(strings.ToLower(body), strings.ToLower(own)) {
			return true
		}
	}
	return false
}

func sameHost(a, b string) bool {
	return strings.EqualFold(hostASCII(a), hostASCII(b))
}

func hostASCII(s string) string {
	s = strings.TrimSuffix(s, ".")
	if a, err := idna.Lookup.ToASCII(s); err == nil {
		return a
	}
	return s
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
