// Package policy decides what a mail session may do. It takes facts and gives nil or the refusal as a *status.Error,
// so each decision is one function with a table of tests. What has to be asked or kept first stands behind one type each:
// Clients and Sender ask the DNS, Ask runs a program, Greylist keeps files.
//
// It guarantees that nothing is relayed unless a rule says so: whatever is neither a mailbox here nor a recipient that a
// logged-in user may send to is refused, and an office without domains accepts nothing (RFC 5321 section 3.6.2).
package policy

import (
	"strings"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// Recipient is what is known of a recipient.
type Recipient struct {
	Address  envelope.Address // as the client named it
	Local    bool             // its domain is served here
	Lookup   error            // of a local recipient: nil when it has a mailbox
	User     string           // who is logged in, or empty
	Named    bool             // the client was named as one that may send to other hosts
	MayRelay bool             // there is somebody to hand mail for other hosts to
}

// Accept is nil for a mailbox here, and for any recipient of a logged-in user or a named client when there is a way to send it on. An unknown
// user is refused for ever. Relaying is refused with a temporary code: a domain that has just moved here loses no mail
// while its directory is missing.
func (r Recipient) Accept() error {
	if !r.Local {
		if (r.User != "" || r.Named) && r.MayRelay && r.Address.Domain != "" {
			return nil
		}
		return status.Errorf(status.TempFail, "%s: Relay access denied", r.Address.Path()).WithReply(454, "4.7.1")
	}
	if r.Lookup == nil {
		return nil
	}
	if e := status.Of(r.Lookup); e.Class != status.Permanent {
		return e
	}
	return status.Errorf(status.NoUser, "%s: Recipient address rejected: User unknown in virtual mailbox table", r.Address.Path())
}

// Submission is nil for a user who is logged in: a submission server takes mail from nobody else (RFC 6409 section 4.3).
func Submission(user string) error {
	if user != "" {
		return nil
	}
	return status.Errorf(status.NoPerm, "Authentication required").WithReply(530, "5.7.0")
}

// Hops is nil for a message with fewer Received fields than max; more is a loop (RFC 5321 section 6.3).
func Hops(received, max int) error {
	if received < max {
		return nil
	}
	return status.Errorf(status.Data, "mail loop: the message has %d Received fields, %d are too many", received, max).WithReply(554, "5.4.6")
}

// Postmasters are the addresses that a postmaster without a domain may stand for on the host called name: in the host's own
// domain, then in the domains above it (RFC 5321 section 4.5.1). A domain of one label is nobody's.
func Postmasters(name string) []envelope.Address {
	var list []envelope.Address
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for strings.Contains(name, ".") && !strings.HasPrefix(name, "[") {
		list = append(list, envelope.Address{Local: "postmaster", Domain: name})
		_, name, _ = strings.Cut(name, ".")
	}
	return list
}
