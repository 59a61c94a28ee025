package mailauth

import (
	"strings"

	"golang.org/x/net/idna"

	"pennypost/internal/message"
)

// The names of the fields that are written and removed.
const (
	FieldName       = "Authentication-Results"
	ReceivedSPFName = "Received-SPF"
)

// claims says whether a field of a message looks as if it were ours.
func claims(f message.Field, ids []string) bool {
	switch {
	case f.Is(FieldName):
		return Claims(f.Value(), ids)
	case f.Is(ReceivedSPFName):
		return claimsReceiver(f.Value(), ids)
	}
	return false
}

// Claims says whether the body of an Authentication-Results field bears one of
// ids, in whatever case, quoting and comments. If its authserv-id cannot be
// read, it does so if one of them stands anywhere in it, since a careless
// reader might find it there.
func Claims(body string, ids []string) bool {
	s := &scanner{in: body}
	id, err := s.value()
	for _, own := range ids {
		if err == nil && sameHost(id, own) || err != nil && mentions(body, own) {
			return true
		}
	}
	return false
}

// claimsReceiver is the same for a Received-SPF field, which has no authserv-id: its receiver, or its comment when it names
// none, says who wrote it (RFC 7208 section 9.1).
func claimsReceiver(body string, ids []string) bool {
	receiver, ok := spfReceiver(body)
	for _, own := range ids {
		if ok && sameHost(receiver, own) || !ok && mentions(body, own) {
			return true
		}
	}
	return false
}

// spfReceiver reads the key "receiver" of a Received-SPF field.
func spfReceiver(body string) (string, bool) {
	s := &scanner{in: body}
	if _, err := s.keyword("result"); err != nil {
		return "", false
	}
	for !s.done() {
		key, err := s.keyword("key")
		if err != nil || s.expect('=') != nil {
			return "", false
		}
		value, err := s.spfValue()
		if err != nil {
			return "", false
		}
		if key == "receiver" {
			return value, true
		}
		if s.blank() != nil || !s.take(';') || s.blank() != nil {
			return "", false
		}
	}
	return "", false
}

// spfValue reads a value leniently: many write addresses without quotes.
func (s *scanner) spfValue() (string, error) {
	if s.peek() == '"' {
		return s.quoted()
	}
	return s.while(isPvalue), nil
}

func mentions(body, id string) bool {
	return strings.Contains(strings.ToLower(body), strings.ToLower(id))
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
