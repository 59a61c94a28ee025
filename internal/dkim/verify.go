package dkim

import (
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"pennypost/internal/message"
)

// VerifyOptions is what checking needs from outside.
type VerifyOptions struct {
	// LookupTXT fetches the TXT records of a name, each with its strings joined.
	// An error that is a *net.DNSError with IsNotFound means that there are none;
	// every other error is temporary.
	LookupTXT func(ctx context.Context, name string) ([]string, error)
	// Now is the time against which t= and x= are held; zero is the present.
	Now time.Time
	// Skew is how far clocks may differ, for t= and x=; zero is DefaultSkew.
	Skew time.Duration
	// Partial lets a signature pass whose l= leaves a part of the body unsigned, with a reason; else the verdict is policy.
	// Result.Counts is false in any case.
	Partial bool
	// Timeout bounds all lookups together; zero is 20 seconds.
	Timeout time.Duration
	// MinBits is the smallest RSA key that is accepted; zero is the constant of that name.
	MinBits int
	// Keys, if there is one, spares parsing the same key again for the next message.
	Keys *KeyCache
}

// DefaultSkew is how far clocks may differ when nothing else is said.
const DefaultSkew = 5 * time.Minute

// complete fills in what is left to its default.
func (o *VerifyOptions) complete() {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	o.Skew = cmp.Or(o.Skew, DefaultSkew)
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second)
	o.MinBits = cmp.Or(o.MinBits, MinBits)
}

// check is one signature on its way to a result.
type check struct {
	result *Result
	sig    signature
	key    *Key
	err    *KeyError // why there is no key
	body   BodyHash
}

// Verify checks the signatures of a message, from the top of its header down,
// and returns one result for each (RFC 6376 section 6.1). Signatures beyond
// MaxSignatures are neutral, unseen. An error means that the message could not
// be read or ctx was cancelled, not that the message is bad.
func Verify(ctx context.Context, m *message.Message, o VerifyOptions) ([]Result, error) {
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	signatures := header.All("DKIM-Signature")
	if len(signatures) == 0 {
		return nil, nil
	}
	results := make([]Result, len(signatures))
	checks := make([]check, min(len(signatures), MaxSignatures))
	for i := range results {
		if i >= MaxSignatures {
			results[i] = Result{Verdict: Neutral, Reason: fmt.Sprintf("not checked: more than %d signatures", MaxSignatures)}
			continue
		}
		checks[i].begin(&results[i], signatures[i].Raw)
	}
	o.complete()
	fetchKeys(ctx, checks, &o)
	if err := ctx.Err(); err != nil {
		return nil, err // nobody waits for results any more
	}
	if err := hashBody(m, header.Size, checks); err != nil {
		return nil, err
	}
	index := IndexFields(header.Fields)
	for i := range checks {
		checks[i].finish(index, &o)
	}
	return results, nil
}

// begin reads the signature and fills in what the result says of it.
func (c *check) begin(r *Result, raw []byte) {
	s, err := parseSignature(raw)
	c.result, c.sig = r, s
	*r = Result{
		Domain: s.domain, Identifier: s.identifier, Selector: s.selector, Algorithm: s.algorithm,
		B: s.b, Length: s.length, Names: s.names, Time: s.time, Expires: s.expires, WantBody: s.bh,
	}
	if s.header != "" {
		r.Canon = string(s.header) + "/" + string(s.body)
	}
	algorithm := strings.ToLower(s.algorithm)
	switch {
	case err != nil:
		r.Verdict, r.Reason = PermError, err.Error()
	case algorithm == "rsa-sha1":
		r.Verdict, r.Reason = Policy, "rsa-sha1 is no longer accepted"
	case algorithm != "rsa-sha256" && algorithm != "ed25519-sha256":
		r.Verdict, r.Reason = Neutral, fmt.Sprintf("unknown algorithm %q", clip(s.algorithm))
	}
}

func (c *check) settled() bool { return c.result.Verdict != "" }

func fetchKeys(ctx context.Context, checks []check, o *VerifyOptions) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	for i := range checks {
		c := &checks[i]
		if c.settled() {
			continue
		}
		r := c.result
		r.Query = Query(c.sig.selector, c.sig.domain)
		f, err := o.fetch(ctx, r.Query, c.sig.algorithm)
		c.key, c.err = f.key, err
		r.Record, r.Records = f.record, f.of
	}
}

// hashBody reads the body once and makes every form of hash that is asked for.
func hashBody(m *message.Message, from int64, checks []check) error {
	forms := make([]BodyForm, 0, 1)
	for i := range checks {
		if c := &checks[i]; !c.settled() {
			forms = append(forms, c.sig.form())
		}
	}
	hashes, err := HashBody(m, from, forms...)
	if err != nil {
		return err
	}
	for i := range checks {
		if c := &checks[i]; !c.settled() {
			c.body, hashes = hashes[0], hashes[1:]
		}
	}
	return nil
}

// finish compares both hashes and comes to the verdict. Hash and signature are
// both looked at whatever comes of the other, so that the result can tell which
// of them it was.
func (c *check) finish(index Index, o *VerifyOptions) {
	r := c.result
	if c.settled() {
		return
	}
	r.GotBody = base64.StdEncoding.EncodeToString(c.body.Sum[:])
	r.BodyOK = string(c.body.Sum[:]) == string(c.sig.hash)
	if c.sig.length >= 0 {
		r.Open = max(0, c.body.Size-c.sig.length)
	}
	r.Canonical = c.sig.block(index)
	if c.err != nil {
		r.Verdict, r.Reason = PermError, c.err.Error()
		if c.err.Temporary {
			r.Verdict = TempError
		}
		return
	}
	r.Key, r.Bits, r.Testing = c.key.Record, c.key.Bits, c.key.Testing
	if err := c.suits(); err != nil {
		r.Verdict, r.Reason = PermError, err.Error()
		return
	}
	if _, isRSA := c.key.Public.(*rsa.PublicKey); isRSA && (r.Bits < o.MinBits || r.Bits > MaxBits) {
		r.Verdict, r.Reason = Policy, fmt.Sprintf("rsa key of %d bits", r.Bits)
		return
	}
	r.HeaderOK = c.key.Verify(r.Canonical, c.sig.sig)
	r.Verdict, r.Reason = c.judge(o)
}

// suits says what in its record keeps the key from being used for the signature.
func (c *check) suits() error {
	if err := c.key.Allows(c.sig.algorithm); err != nil {
		return err
	}
	domain := c.sig.identifier[strings.LastIndexByte(c.sig.identifier, '@')+1:]
	if c.key.Strict && !strings.EqualFold(ASCII(domain), ASCII(c.sig.domain)) {
		return fmt.Errorf("the key wants i= to have the domain of d=")
	}
	return nil
}

func (c *check) judge(o *VerifyOptions) (Verdict, string) {
	r := c.result
	open := ""
	if r.Open > 0 {
		open = fmt.Sprintf("l= leaves %d bytes unsigned", r.Open)
	}
	bad := Fail
	if r.Testing {
		// RFC 6376 section 3.6.1: as if it were not signed.
		bad = Neutral
	}
	switch length := c.sig.length; {
	case length > c.body.Size:
		return bad, "the body is shorter than l="
	case !r.BodyOK && !r.HeaderOK:
		return bad, "neither body hash nor signature match"
	case !r.BodyOK:
		return bad, "the body hash does not match"
	case !r.HeaderOK:
		return bad, "the signature does not match"
	case open != "" && !o.Partial:
		return Policy, open
	case !r.Expires.IsZero() && o.Now.After(r.Expires.Add(o.Skew)):
		return Policy, "expired"
	case r.Time.After(o.Now.Add(o.Skew)):
		return Policy, "signed in the future"
	}
	return Pass, open
}
