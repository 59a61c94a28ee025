package dkim

import (
	"fmt"
	"strings"
	"time"

	"pennypost/internal/message"
)

// weakBits is the size below which an RSA key should no longer be made (RFC 8301 section 3.2).
const weakBits = 2048

// GapKind is a way in which a message can be changed without breaking a signature.
type GapKind string

// The kinds of gaps.
const (
	GapBody  GapKind = "body"  // something can be put behind the body, which l= does not cover
	GapField GapKind = "field" // a field is there and not signed: it can be changed or removed
	GapAdd   GapKind = "add"   // one more field of the name can be put on top, where a reader may take it for the signed one
)

// Gap is something that a signature does not cover.
type Gap struct {
	Kind  GapKind `json:"kind"`
	Name  string  `json:"name,omitempty"`  // of the field
	Count int     `json:"count,omitempty"` // of fields that are not signed
	Bytes int64   `json:"bytes,omitempty"` // of the body that are not signed
}

// String says it for people.
func (g Gap) String() string {
	switch g.Kind {
	case GapBody:
		return fmt.Sprintf("%d bytes at the end of the body are not signed", g.Bytes)
	case GapField:
		return fmt.Sprintf("%s is not signed", g.Name)
	}
	return fmt.Sprintf("another %s can be added", g.Name)
}

// shown are the fields that a reader sees or a mail program acts on, in the order in which gaps are told.
var shown = []string{
	"From", "Sender", "Reply-To", "Subject", "Date", "To", "Cc", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe",
}

// Uncovered tells what of a message with the header h the signature does not cover, of the fields that people see or programs act
// on. A field that is there and not signed comes before one that could be added.
func (r *Result) Uncovered(h message.Header) []Gap {
	var body, open, add []Gap
	if r.Open > 0 {
		body = []Gap{{Kind: GapBody, Bytes: r.Open}}
	}
	index := IndexFields(h.Fields)
	signed := map[string]int{}
	for _, n := range r.Names {
		signed[strings.ToLower(n)]++
	}
	for _, n := range shown {
		there, covered := index.Count(n), signed[strings.ToLower(n)]
		if there > covered {
			open = append(open, Gap{Kind: GapField, Name: n, Count: there - covered})
		} else if there == covered {
			add = append(add, Gap{Kind: GapAdd, Name: n})
		}
	}
	return append(append(body, open...), add...)
}

// Notes are sentences for people on what is unusual about a signature and its key, whatever its verdict. Now is the time against
// which its age is held.
func (r *Result) Notes(now time.Time) []string {
	var notes []string
	say := func(format string, a ...any) { notes = append(notes, fmt.Sprintf(format, a...)) }
	if r.Records > 1 && r.Record > 0 {
		say("there are %d TXT records at %s: number %d was used", r.Records, r.Query, r.Record)
	} else if r.Records > 1 {
		say("there are %d TXT records at %s", r.Records, r.Query)
	}
	if r.Testing {
		say("the key is in test mode (t=y)")
	}
	if r.Bits >= MinBits && r.Bits < weakBits {
		say("the key has %d bits; %d are the least one should make today", r.Bits, weakBits)
	}
	if !r.Time.IsZero() && !r.Time.After(now) {
		say("signed %s ago", age(now.Sub(r.Time)))
	}
	switch {
	case r.Expires.IsZero():
	case r.Expires.After(now):
		say("expires in %s", age(r.Expires.Sub(now)))
	default:
		say("expired %s ago", age(now.Sub(r.Expires)))
	}
	return notes
}

// age is a duration in its largest unit.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	for _, u := range []struct {
		size time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int64(d / u.size); n == 1 {
			return "1 " + u.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return "less than a minute"
}
