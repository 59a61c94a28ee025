package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
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
	// Now is the time against which x= is held; zero is the present.
	Now time.Time
	// Timeout bounds all lookups together; zero is 20 seconds.
	Timeout time.Duration
}

// check is one signature on its way to a result.
type check struct {
	result *Result
	sig    *signature
	key    *key
	err    error // why there is no key
	body   *bodyHash
}

// bodyHash is the hash of the body in one form; signatures share it.
type bodyHash struct {
	hash  hash.Hash
	limit *limit
	canon *body
}

type bodyForm struct {
	canon  Canon
	length int64
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
	var results []Result
	var raw [][]byte
	for _, f := range header.Fields {
		if !strings.EqualFold(f.Name, "DKIM-Signature") {
			continue
		}
		results = append(results, Result{})
		raw = append(raw, f.Raw)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	checks := make([]*check, 0, MaxSignatures)
	for i := range results {
		if i >= MaxSignatures {
			results[i] = Result{Verdict: Neutral, Reason: fmt.Sprintf("not checked: more than %d signatures", MaxSignatures)}
			continue
		}
		checks = append(checks, begin(&results[i], raw[i]))
	}
	fetchKeys(ctx, checks, o)
	if err := ctx.Err(); err != nil {
		return nil, err // nobody waits for results any more
	}
	if err := hashBody(m, header.Size, checks); err != nil {
		return nil, err
	}
	index := indexFields(header.Fields)
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	for _, c := range checks {
		c.finish(index, now)
	}
	return results, nil
}

// begin reads the signature and fills in what the result says of it.
func begin(r *Result, raw []byte) *check {
	s, err := parseSignature(raw)
	*r = Result{
		Domain: s.domain, Identifier: s.identifier, Selector: s.selector, Algorithm: s.algorithm,
		B: s.b[:min(len(s.b), 8)], Names: s.names, Time: s.time, Expires: s.expires, WantBody: s.bh,
	}
	if s.header != "" {
		r.Canon = string(s.header) + "/" + string(s.body)
	}
	c := &check{result: r, sig: s}
	algorithm := strings.ToLower(s.algorithm)
	switch {
	case err != nil:
		r.Verdict, r.Reason = PermError, err.Error()
	case algorithm == "rsa-sha1":
		r.Verdict, r.Reason = Policy, "rsa-sha1 is no longer accepted"
	case algorithm != "rsa-sha256" && algorithm != "ed25519-sha256":
		r.Verdict, r.Reason = Neutral, fmt.Sprintf("unknown algorithm %q", clip(s.algorithm))
	}
	return c
}

func (c *check) settled() bool { return c.result.Verdict != "" }

func fetchKeys(ctx context.Context, checks []*check, o VerifyOptions) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, c := range checks {
		if c.settled() {
			continue
		}
		c.result.Query = Query(c.sig.selector, c.sig.domain)
		c.key, c.err = lookup(o.LookupTXT).fetch(ctx, c.result.Query, c.sig.algorithm)
	}
}

// hashBody reads the body once and makes every form of hash that is asked for.
func hashBody(m *message.Message, from int64, checks []*check) error {
	forms := map[bodyForm]*bodyHash{}
	var all []io.Writer
	for _, c := range checks {
		if c.settled() {
			continue
		}
		form := bodyForm{c.sig.body, c.sig.length}
		if forms[form] == nil {
			forms[form] = newBodyHash(form)
			all = append(all, forms[form].canon)
		}
		c.body = forms[form]
	}
	if len(all) == 0 {
		return nil
	}
	if err := readBody(m, from, io.MultiWriter(all...)); err != nil {
		return err
	}
	for _, b := range forms {
		_ = b.canon.Close()
	}
	return nil
}

func readBody(m *message.Message, from int64, w io.Writer) error {
	r := io.NewSectionReader(m, from, m.Size()-from)
	if _, err := io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, 32<<10)); err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	return nil
}

func newBodyHash(f bodyForm) *bodyHash {
	h := sha256.New()
	l := &limit{w: h, max: f.length}
	return &bodyHash{h, l, newBody(l, f.canon)}
}

// finish compares both hashes and comes to the verdict. Hash and signature are
// both looked at whatever comes of the other, so that the result can tell which
// of them it was.
func (c *check) finish(index fieldIndex, now time.Time) {
	r := c.result
	if c.settled() {
		return
	}
	got := c.body.hash.Sum(nil)
	r.GotBody = base64.StdEncoding.EncodeToString(got)
	r.BodyOK = string(got) == string(c.sig.hash)
	r.Canonical = index.block(c.sig)
	var le *lookupError
	if errors.As(c.err, &le) {
		r.Verdict, r.Reason = PermError, le.Error()
		if le.temporary {
			r.Verdict = TempError
		}
		return
	}
	r.Key, r.Bits, r.Testing = c.key.record, c.key.bits, c.key.testing
	if err := c.key.suits(c.sig); err != nil {
		r.Verdict, r.Reason = PermError, err.Error()
		return
	}
	if _, isRSA := c.key.public.(*rsa.PublicKey); isRSA && (r.Bits < MinBits || r.Bits > MaxBits) {
		r.Verdict, r.Reason = Policy, fmt.Sprintf("rsa key of %d bits", r.Bits)
		return
	}
	r.HeaderOK = c.key.verify(r.Canonical, c.sig.sig)
	r.Verdict, r.Reason = c.judge(now)
}

func (c *check) judge(now time.Time) (Verdict, string) {
	r := c.result
	bad := Fail
	if r.Testing {
		// RFC 6376 section 3.6.1: as if it were not signed.
		bad = Neutral
	}
	switch length := c.sig.length; {
	case length > c.body.limit.got:
		return bad, "the body is shorter than l="
	case !r.BodyOK && !r.HeaderOK:
		return bad, "neither body hash nor signature match"
	case !r.BodyOK:
		return bad, "the body hash does not match"
	case !r.HeaderOK:
		return bad, "the signature does not match"
	case length >= 0 && length < c.body.limit.got:
		return Policy, fmt.Sprintf("l= leaves %d bytes unsigned", c.body.limit.got-length)
	case !r.Expires.IsZero() && now.After(r.Expires):
		return Policy, "expired"
	}
	return Pass, ""
}

func (k *key) verify(block, sig []byte) bool {
	sum := sha256.Sum256(block)
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(public, sum[:], sig)
	}
	return false
}

// fieldIndex finds the fields of a name, in the order of the header.
type fieldIndex map[string][][]byte

func indexFields(fields []message.Field) fieldIndex {
	index := fieldIndex{}
	for _, f := range fields {
		name := strings.ToLower(f.Name)
		index[name] = append(index[name], f.Raw)
	}
	return index
}

// block is the canonical header that a signature covers: the named fields,
// each name taking the lowest instance not yet taken and nothing once they are
// used up, then the signature itself without b= (RFC 6376 sections 3.7, 5.4.2).
func (x fieldIndex) block(s *signature) []byte {
	var out []byte
	taken := map[string]int{}
	for _, name := range s.names {
		name = strings.ToLower(name)
		all := x[name]
		if n := taken[name]; n < len(all) {
			taken[name]++
			out = canonField(out, all[len(all)-1-n], s.header)
		}
	}
	out = canonField(out, s.unsigned, s.header)
	return trimEOL(out)
}
