package resolver

import (
	"fmt"
	"net"
)

// Kind says in which way a question failed.
type Kind uint8

// NXDomain, NoData and BadName are final; the others may pass.
const (
	NXDomain   Kind = iota + 1 // the name does not exist (RFC 2308 section 2.1)
	NoData                     // the name exists, but has no such record (2.2)
	BadName                    // this cannot be a name: nothing was asked
	ServFail                   // the server could not find out
	Timeout                    // no answer in time
	Refused                    // the server will not tell us
	Loop                       // CNAMEs go in a circle or are too many
	Network                    // the server cannot be reached
	Malformed                  // an answer came that is none
	Unrecorded                 // it is not in the recording, or could not be put there
)

var kindTexts = [...]string{
	NXDomain:   "no such domain",
	NoData:     "no such record",
	BadName:    "not a domain name",
	ServFail:   "server failure",
	Timeout:    "no answer in time",
	Refused:    "refused by the server",
	Loop:       "CNAME loop or chain too long",
	Network:    "server not reached",
	Malformed:  "malformed answer",
	Unrecorded: "not in the recording",
}

// String is the text that stands in error messages.
func (k Kind) String() string {
	if int(k) < len(kindTexts) && kindTexts[k] != "" {
		return kindTexts[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is why a question was not answered with records.
type Error struct {
	Kind   Kind
	Name   string // the name asked
	Type   string // the record type, "MX"
	Server string // who answered or failed to; may be empty
	Err    error  // the cause, if there is one
}

// Error tells what was asked, of whom, and what came of it.
func (e *Error) Error() string {
	s := fmt.Sprintf("look up %s %q", e.Type, e.Name)
	if e.Server != "" {
		s += " at " + e.Server
	}
	s += ": " + e.Kind.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Temporary tells whether the same question may be answered later. A CNAME loop
// counts as temporary, because most servers report it as a server failure.
func (e *Error) Temporary() bool {
	switch e.Kind {
	case NXDomain, NoData, BadName:
		return false
	}
	return true
}

// Unwrap gives the cause and a *net.DNSError that says the same, so that code
// which knows only package net understands the error.
func (e *Error) Unwrap() []error {
	d := &net.DNSError{
		Err:         e.Kind.String(),
		Name:        e.Name,
		Server:      e.Server,
		IsTimeout:   e.Kind == Timeout,
		IsTemporary: e.Temporary(),
		IsNotFound:  !e.Temporary(),
	}
	if e.Err == nil {
		return []error{d}
	}
	return []error{d, e.Err}
}
