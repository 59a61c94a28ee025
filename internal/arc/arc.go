// Package arc checks and makes Authenticated Received Chains.
//
// It hides how the three fields of a set are read, in which order a chain is checked and over what each of its
// signatures is. It takes messages with either line end, reads the body once however many sets there are, and hashes
// what the seals cover once, not once for each. Every input is bounded: the number of sets, of names in h=, the size of a
// field, and what the older signatures may cover together.
//
// It follows RFC 8617. Canonical forms, key records and their limits are those of package dkim.
package arc

import (
	"time"

	"pennypost/internal/message"
)

// Limits on what a message may make a verifier do.
const (
	// MaxSets is how many sets a chain may have (RFC 8617 section 4.2.1).
	MaxSets = 50
	// MaxField is the largest field of a set that is read, in bytes.
	MaxField = 32 << 10
	// MaxCovered is how many bytes of header all ARC-Message-Signatures but the newest may cover together; older ones than
	// that are not looked at, which RFC 8617 section 5.2 step 5 leaves open.
	MaxCovered = 4 << 20
)

// Result is a chain validation status (RFC 8617 section 4.4).
type Result string

// The results. A key that cannot be fetched now makes a chain fail as well (RFC 8617 section 5.2.1); Report.Temporary
// tells.
const (
	None Result = "none" // there is no chain
	Pass Result = "pass"
	Fail Result = "fail"
)

// Report is what is known of a chain after checking it.
type Report struct {
	Result    Result
	Reason    string // why it fails
	Temporary bool   // it might not fail later: a key could not be fetched now
	Closed    bool   // its newest seal says cv=fail: nothing may be added to it (RFC 8617 section 5.1.2)
	Instances int    // the highest instance that was found
	// OldestPass is the oldest instance from which on the message was not changed, as far as the signatures cover it;
	// 0 means that all hold (RFC 8617 section 5.2 step 5). It has a meaning only when the result is Pass.
	OldestPass int
	Sets       []Set // Sets[i] has instance i+1; empty unless the chain is whole
}

// Set is what one handler added.
type Set struct {
	Instance int
	Results  string    // what stands in ARC-Authentication-Results after the instance, unfolded
	Message  Signature // ARC-Message-Signature
	Seal     Signature // ARC-Seal
	CV       Result    // what its handler found of the chain before it

	raw [fields][]byte
}

// Signature is what is known of an ARC-Message-Signature or ARC-Seal.
type Signature struct {
	OK        bool
	Reason    string // why not
	Temporary bool   // the key could not be fetched now

	Domain    string   // d=
	Selector  string   // s=
	Algorithm string   // a=
	Canon     string   // c=, both halves
	Names     []string // h=
	Time      time.Time

	// What the check saw, for explaining it.
	Query     string // the name that was asked for the key
	Key       string // the key record
	Bits      int    // size of the key
	WantBody  string // bh=
	GotBody   string // the hash of the body as it is
	BodyOK    bool
	HeaderOK  bool
	Canonical []byte // the header block of an ARC-Message-Signature as it was hashed

	parsed parsed
}

// The fields of a set, in the order in which a seal covers them (RFC 8617 section 5.1.1).
type kind int

const (
	results kind = iota
	signature
	seal
	fields
)

var names = [fields]string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"}

func (k kind) String() string { return names[k] }

// kindOf tells which field of a set this is.
func kindOf(f message.Field) (kind, bool) {
	for k, name := range names {
		if f.Is(name) {
			return kind(k), true
		}
	}
	return 0, false
}
