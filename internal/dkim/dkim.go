// Package dkim makes and checks DomainKeys Identified Mail signatures.
//
// It hides the canonical forms, the tag lists and the key records. It takes
// messages with either line end (LF, as between our programs, or CRLF, as on
// the wire; both hash alike, and a CR that is not followed by LF is content),
// reads the body once however many signatures there are, and needs no more
// memory for a long message than for a short one. Every input is bounded: the
// number of signatures, of names in h=, of key records and the size of keys.
//
// It follows RFC 6376 with the updates of RFC 8301 (no SHA-1, RSA keys of at
// least 1024 bits), RFC 8463 (Ed25519) and RFC 8616 (U-labels). The names of
// the verdicts are those of RFC 8601 section 2.7.1.
package dkim

import (
	"strings"
	"time"
)

// Limits on what a message may make a verifier do.
const (
	// MaxSignatures is how many signatures of one message are checked.
	MaxSignatures = 10
	// MaxNames is how many header fields one h= tag may name.
	MaxNames = 1000
	// MaxTags is how many tags one tag list may hold.
	MaxTags = 50
	// MaxSignature is the largest DKIM-Signature field that is read, in bytes.
	MaxSignature = 32 << 10
	// MinBits and MaxBits bound the RSA keys that are accepted (RFC 8301
	// section 3.2 for the lower bound).
	MinBits = 1024
	MaxBits = 8192

	maxRecords = 10
	maxRecord  = 8 << 10
)

// Verdict is what a check came to, in the words of RFC 8601 section 2.7.1.
type Verdict string

// The verdicts. A message without a signature has no result at all; None is
// for those who must write that down.
const (
	None      Verdict = "none"
	Pass      Verdict = "pass"
	Fail      Verdict = "fail"      // the hash or the signature does not match
	Policy    Verdict = "policy"    // it matches or might, but is not acceptable here
	Neutral   Verdict = "neutral"   // it was not looked at, or its key is in test mode
	TempError Verdict = "temperror" // the key could not be fetched now
	PermError Verdict = "permerror" // signature or key are malformed or missing
)

// Canon is a canonicalisation of RFC 6376 section 3.4.
type Canon string

// The two canonicalisations.
const (
	Simple  Canon = "simple"
	Relaxed Canon = "relaxed"
)

// ParseCanon reads a c= value such as "relaxed/simple" into the form for the
// header and the one for the body, which is simple when left out (RFC 6376
// section 3.5).
func ParseCanon(s string) (header, body Canon, ok bool) {
	h, b, both := strings.Cut(s, "/")
	header, body = Canon(strings.ToLower(h)), Simple
	if both {
		body = Canon(strings.ToLower(b))
	}
	ok = (header == Simple || header == Relaxed) && (body == Simple || body == Relaxed)
	return header, body, ok
}

// Result is what is known of one signature after checking it. The fields that
// come from the signature are empty when it could not be read so far.
type Result struct {
	Verdict Verdict
	Reason  string // why not pass; empty for a plain pass

	Domain     string // d=, as it stands in the signature
	Identifier string // i=, decoded; "@" + Domain when absent
	Selector   string // s=
	Algorithm  string // a=
	B          string // the first bytes of b=, as RFC 6008 wants them
	Canon      string // c=, both halves
	Names      []string
	Time       time.Time // t=, zero when absent
	Expires    time.Time // x=, zero when absent
	Length     int64     // l=, negative when absent

	// What the check saw, for explaining it. Both halves are always looked at.
	Query     string // the name that was asked for the key
	Records   int    // how many TXT records are there
	Record    int    // which of them is the key that was used, from 1
	Key       string // that record
	Bits      int    // size of the key
	Testing   bool   // the key says t=y
	WantBody  string // bh=
	GotBody   string // the hash of the body as it is
	Open      int64  // bytes at the end of the body that l= leaves to anyone
	BodyOK    bool
	HeaderOK  bool
	Canonical []byte // the header block as it was hashed
}

// Counts says whether the signature vouches for the whole body and so for the message: whether it is one that may make DMARC
// pass. A key in test mode does not stand against it, since many stay in that mode for ever.
func (r *Result) Counts() bool { return r.Verdict == Pass && r.Open == 0 }
