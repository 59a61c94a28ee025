package arc

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

// chain is a chain on its way to a report.
type chain struct {
	report  *Report
	keys    map[string]*answer
	bodies  map[dkim.Canon]dkim.BodyHash
	fields  dkim.Index
	budget  int // bytes that older message signatures may still cover
	minBits int
	now     time.Time
}

// answer is what came of asking for a key.
type answer struct {
	key *dkim.Key
	err error
}

// Verify checks the chain of a message (RFC 8617 section 5.2). Of a chain that is whole, every signature is looked at
// whatever comes of the others, so that the report can tell all that is wrong. An error means that the message could not
// be read or ctx was cancelled, not that the chain is bad.
func Verify(ctx context.Context, m *message.Message, o dkim.VerifyOptions) (*Report, error) {
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	r := collect(header.Fields)
	if r.Result != "" {
		return r, nil
	}
	c := &chain{
		report: r, keys: map[string]*answer{}, fields: dkim.IndexFields(header.Fields),
		budget: MaxCovered, minBits: cmp.Or(o.MinBits, dkim.MinBits), now: o.Now,
	}
	if c.now.IsZero() {
		c.now = time.Now()
	}
	c.fetchKeys(ctx, o)
	if err := ctx.Err(); err != nil {
		return nil, err // nobody waits for a report any more
	}
	if err := c.hashBody(m, header.Size); err != nil {
		return nil, err
	}
	c.checkMessages()
	c.checkSeals()
	c.conclude()
	return r, nil
}

// signatures are all of the chain.
func (c *chain) signatures() []*Signature {
	var all []*Signature
	for i := range c.report.Sets {
		s := &c.report.Sets[i]
		all = append(all, &s.Message, &s.Seal)
	}
	return all
}

// fetchKeys asks for each key once, the newest sets first, since the time for all is bounded.
func (c *chain) fetchKeys(ctx context.Context, o dkim.VerifyOptions) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.Timeout, 20*time.Second))
	defer cancel()
	all := c.signatures()
	for i := len(all) - 1; i >= 0; i-- {
		s := all[i]
		if s.parsed.err != nil {
			continue
		}
		s.Query = dkim.Query(s.Selector, s.Domain)
		id := keyID(s)
		if c.keys[id] == nil {
			a := &answer{}
			a.key, a.err = o.FetchKey(ctx, s.Query, s.Algorithm)
			c.keys[id] = a
		}
	}
}

// keyID tells keys apart: at one name there may be one of each kind.
func keyID(s *Signature) string { return strings.ToLower(s.Algorithm) + " " + s.Query }

// hashBody hashes the body in the canonical forms in which it is needed: at most two, since l= is compared with the size only.
func (c *chain) hashBody(m *message.Message, from int64) error {
	var forms []dkim.BodyForm
	for i := range c.report.Sets {
		p := &c.report.Sets[i].Message.parsed
		form := dkim.BodyForm{Canon: p.body, Length: -1}
		if p.err == nil && !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	hashes, err := dkim.HashBody(m, from, forms...)
	if err != nil {
		return err
	}
	c.bodies = map[dkim.Canon]dkim.BodyHash{}
	for i, f := range forms {
		c.bodies[f.Canon] = hashes[i]
	}
	return nil
}

// checkMessages checks the message signatures from the newest to the oldest.
func (c *chain) checkMessages() {
	sets := c.report.Sets
	for i := len(sets) - 1; i >= 0; i-- {
		s := &sets[i].Message
		switch {
		case s.parsed.err != nil:
			s.Reason = s.parsed.err.Error()
		case c.budget <= 0:
			s.Reason = fmt.Sprintf("not checked: the newer ones cover %d bytes of header", MaxCovered)
		default:
			c.checkMessage(s, &sets[i], i == len(sets)-1)
		}
		s.OK = s.Reason == ""
	}
}

func (c *chain) checkMessage(s *Signature, own *Set, newest bool) {
	p := &s.parsed
	body := c.bodies[p.body]
	s.GotBody = base64.StdEncoding.EncodeToString(body.Sum[:])
	s.BodyOK = string(body.Sum[:]) == string(p.hash)
	s.Canonical = dkim.HeaderBlock(p.header, c.covered(s, own), p.unsigned)
	if !newest {
		c.budget -= len(s.Canonical)
	}
	expires, err := p.tags.Instant("x")
	key, ok := c.key(s)
	if ok {
		s.HeaderOK = key.Verify(s.Canonical, p.sig)
	}
	switch {
	case !ok:
	case p.length >= 0 && p.length != body.Size:
		s.Reason = fmt.Sprintf("l= is %d, the body has %d bytes", p.length, body.Size)
	case !s.BodyOK && !s.HeaderOK:
		s.Reason = "neither body hash nor signature match"
	case !s.BodyOK:
		s.Reason = "the body hash does not match"
	case !s.HeaderOK:
		s.Reason = "the signature does not match"
	case err != nil:
		s.Reason = err.Error()
	case !expires.IsZero() && c.now.After(expires):
		s.Reason = "expired"
	}
}

// covered are the fields that a message signature covers. Itself it cannot be (RFC 6376 section 3.5).
func (c *chain) covered(s *Signature, own *Set) [][]byte {
	fields := c.fields
	if s.Covers(names[signature]) {
		fields = fields.Without(own.raw[signature])
	}
	return fields.Select(s.Names)
}

// key is the key of a signature if there is one that suits it; if not, the signature has the reason.
func (c *chain) key(s *Signature) (*dkim.Key, bool) {
	a := c.keys[keyID(s)]
	if a.err != nil {
		s.Reason = a.err.Error()
		var ke *dkim.KeyError
		s.Temporary = errors.As(a.err, &ke) && ke.Temporary
		return nil, false
	}
	s.Key, s.Bits = a.key.Record, a.key.Bits
	if err := a.key.Allows(s.Algorithm); err != nil {
		s.Reason = err.Error()
		return nil, false
	}
	if _, isRSA := a.key.Public.(*rsa.PublicKey); isRSA && (s.Bits < c.minBits || s.Bits > dkim.MaxBits) {
		s.Reason = fmt.Sprintf("rsa key of %d bits", s.Bits)
		return nil, false
	}
	return a.key, true
}

// checkSeals checks every seal. Each covers all that the one before it covers, so that one hash runs along the chain.
func (c *chain) checkSeals() {
	sum := newSealHash()
	for i := range c.report.Sets {
		set := &c.report.Sets[i]
		s := &set.Seal
		got := sum.next(set.raw, s.parsed.unsigned)
		if s.parsed.err != nil {
			s.Reason = s.parsed.err.Error()
		} else if key, ok := c.key(s); ok {
			if s.HeaderOK = key.VerifySum(got, s.parsed.sig); !s.HeaderOK {
				s.Reason = "the signature does not match"
			}
		}
		s.OK = s.Reason == ""
	}
}

// sealHash hashes what seals cover (RFC 8617 section 5.1.1).
type sealHash struct {
	hash hash.Cloner
	buf  []byte
}

func newSealHash() *sealHash { return &sealHash{hash: sha256.New().(hash.Cloner)} }

// next takes one more set and is the hash that its seal signs. unsigned is the seal without its signature.
func (h *sealHash) next(raw [fields][]byte, unsigned []byte) (sum [sha256.Size]byte) {
	h.write(raw[results])
	h.write(raw[signature])
	own, err := h.hash.Clone()
	if err != nil {
		panic(err) // not SHA-256
	}
	last := dkim.AppendField(nil, unsigned, dkim.Relaxed)
	_, _ = own.Write(last[:len(last)-len("\r\n")]) // the last line has no end (RFC 6376 section 3.7)
	h.write(raw[seal])
	own.Sum(sum[:0])
	return sum
}

func (h *sealHash) write(raw []byte) {
	h.buf = dkim.AppendField(h.buf[:0], raw, dkim.Relaxed)
	_, _ = h.hash.Write(h.buf)
}

// conclude comes to the result (RFC 8617 section 5.2, steps 4 to 7).
func (c *chain) conclude() {
	r := c.report
	last := len(r.Sets)
	r.require("message signature", last, &r.Sets[last-1].Message)
	for i := last; i > 0; i-- {
		r.require("seal", i, &r.Sets[i-1].Seal)
	}
	if r.Result == "" {
		r.Result = Pass
	}
	for i := last - 1; i > 0; i-- {
		if !r.Sets[i-1].Message.OK {
			r.OldestPass = i + 1
			break
		}
	}
}

// require makes the chain fail unless s holds. The first reason is the one that is given; the failure is temporary if all
// that lead to it are.
func (r *Report) require(what string, instance int, s *Signature) {
	if s.OK {
		return
	}
	if r.Result == "" {
		r.Temporary = true
		r.fail("%s %d: %s", what, instance, s.Reason)
	}
	r.Temporary = r.Temporary && s.Temporary
}
