package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// writer is who sends a letter, and from where.
type writer struct {
	host     string // this host's name
	domain   string // completes bare names
	user     string // login name
	uid      int
	fullName string
}

// fields that hold addresses, and those of them that name recipients.
var (
	addressFields = []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc",
		"Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc"}
	recipientFields = []string{"To", "Cc", "Bcc"}
	dropped         = []string{"Bcc", "Resent-Bcc", "Return-Path"}
)

func is(f message.Field, names []string) bool { return slices.ContainsFunc(names, f.Is) }

// letterHeader is the header of a letter: its fields up to the first line that is none, which begins the body.
func letterHeader(m *message.Message) (fields []message.Field, body message.Span, err error) {
	h, err := m.Header()
	if err != nil {
		return nil, body, err
	}
	size := h.Size
	fields = h.Fields
	if i := slices.IndexFunc(fields, func(f message.Field) bool { return f.Name == "" }); i >= 0 {
		size = fields[i].Off
		fields = fields[:i]
	}
	return fields, message.Span{Off: 0, Len: size}, nil
}

// namedRecipients are those of -t: of To, Cc and Bcc, or of the Resent- fields where there are any (RFC 5322 section 3.6.6).
func namedRecipients(fields []message.Field) ([]envelope.Address, error) {
	prefix := ""
	for _, f := range fields {
		if is(f, []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}) {
			prefix = "Resent-"
		}
	}
	var all []envelope.Address
	for _, f := range fields {
		if !slices.ContainsFunc(recipientFields, func(n string) bool { return f.Is(prefix + n) }) {
			continue
		}
		found, err := envelope.ParseList(f.Value())
		if err != nil {
			return nil, status.Errorf(status.Data, "%s: %w", f.Name, err)
		}
		for _, l := range found {
			all = append(all, l.Address)
		}
	}
	return all, nil
}

// complete is the letter as it goes out (RFC 6409 section 8): bare names have a domain, Bcc is gone, Date, From and Message-ID
// are there, and a Received field says who sent it.
func (w *writer) complete(m *message.Message, fields []message.Field, old message.Span, sender envelope.Address,
	now time.Time) *message.Message {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Received: by %s (from user %d by sendmail);\n %s\n", w.host, w.uid, now.Format(time.RFC1123Z))
	prefixes := []string{""}
	if slices.ContainsFunc(fields, func(f message.Field) bool { return strings.HasPrefix(strings.ToLower(f.Name), "resent-") }) {
		prefixes = []string{"Resent-", ""} // a block of its own on top
	}
	for _, p := range prefixes {
		w.add(&b, fields, p, sender, now)
	}
	for _, f := range fields {
		switch {
		case is(f, dropped):
		case is(f, addressFields):
			name, value, _ := strings.Cut(string(f.Raw), ":")
			b.WriteString(name + ":" + envelope.Complete(value, w.domain))
		default:
			b.Write(f.Raw)
		}
	}
	b.WriteString("\n")
	return m.Without([]message.Span{old}).Prepend(b.Bytes())
}

// add writes the fields that are missing.
func (w *writer) add(b *bytes.Buffer, fields []message.Field, prefix string, sender envelope.Address, now time.Time) {
	missing := func(name string) bool {
		return !slices.ContainsFunc(fields, func(f message.Field) bool { return f.Is(prefix + name) })
	}
	if missing("From") {
		from := sender
		if from.IsNull() {
			from = envelope.Address{Local: w.user, Domain: w.domain}
		}
		fmt.Fprintf(b, "%sFrom: %s\n", prefix, (&mail.Address{Name: w.fullName, Address: from.String()}).String())
	}
	if missing("Date") {
		fmt.Fprintf(b, "%sDate: %s\n", prefix, now.Format(time.RFC1123Z))
	}
	if missing("Message-ID") {
		fmt.Fprintf(b, "%sMessage-ID: <%s@%s>\n", prefix, rand.Text(), w.host)
	}
}

// completed gives bare names the domain and leaves out who is named twice.
func (w *writer) completed(list []envelope.Address) []envelope.Address {
	var out []envelope.Address
	known := map[envelope.Address]bool{}
	for _, a := range list {
		if a.Domain == "" {
			a.Domain = w.domain
		}
		if plain, err := a.ASCII(); err != nil || !known[plain] {
			known[plain] = true
			out = append(out, a)
		}
	}
	return out
}
