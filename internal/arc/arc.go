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
	MaxCovered = 1 << 20
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

// Report is what is known of a chain after checking it. Texts in it come from outside: escape them before they are shown.
type Report struct {
	Result    Result `json:"result"`
	Reason    string `json:"reason,omitempty"`    // why it fails
	Temporary bool   `json:"temporary,omitempty"` // it might not fail later: a key could not be fetched now
	Closed    bool   `json:"closed,omitempty"`    // its newest seal says cv=fail: it takes no more sets (RFC 8617 section 5.1.2)
	Instances int    `json:"instances"`           // the highest instance that was found; MaxSets if there are too many fields
	// OldestPass is the oldest instance from which on the message was not changed, as far as the signatures cover it;
	// 0 means that all hold (RFC 8617 section 5.2 step 5). It has a meaning only when the result is Pass.
	OldestPass int   `json:"oldest_pass"`
	Sets       []Set `json:"sets,omitempty"` // Sets[i] has instance i+1; empty unless the chain is whole
}

// Set is what one handler added.
type Set struct {
	Instance int       `json:"instance"`
	Results  string    `json:"results"` // what stands in ARC-Authentication-Results after the instance, unfolded
	CV       Result    `json:"cv"`      // what its handler found of the chain before it
	Seal     Signature `json:"seal"`    // ARC-Seal
	Message  Signature `json:"message"` // ARC-Message-Signature

	raw [fields][]byte
}

// Signature is what is known of an ARC-Message-Signature or ARC-Seal.
type Signature struct {
	OK        bool   `json:"ok"`
	Reason    string `json:"reason,omitempty"`    // why not
	Temporary bool   `json:"temporary,omitempty"` // the key could not be fetched now

	Domain    string    `json:"domain"`
	Selector  string    `json:"selector"`
	Algorithm string    `json:"algorithm"`
	Canon     string    `json:"canonicalization,omitempty"` // c=, both halves
	Names     []string  `json:"fields,omitempty"`           // h=
	Time      time.Time `json:"time,omitzero"`

	// What the check saw, for explaining it.
	Query     string `json:"query,omitempty"`            // the name that was asked for the key
	Key       string `json:"key,omitempty"`              // the key record
	Bits      int    `json:"bits,omitempty"`             // size of the key
	WantBody  string `json:"signed_body_hash,omitempty"` // bh=
	GotBody   string `json:"body_hash,omitempty"`        // the hash of the body as it is
	BodyOK    bool   `json:"body_ok,omitempty"`          // of an ARC-Message-Signature
	HeaderOK  bool   `json:"header_ok"`
	Canonical []byte `json:"-"` // the header block of an ARC-Message-Signature as it was hashed

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
