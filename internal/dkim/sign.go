package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/message"
	"pennypost/internal/status"
)

// DefaultFields are the names that are signed when nothing else is asked for:
// those of RFC 6376 section 5.4.1 and what mail has come to depend on since.
// Trace fields and Return-Path stay out, since they change on the way.
var DefaultFields = []string{
	"From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Description",
	"In-Reply-To", "References",
	"Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post",
	"List-Owner", "List-Archive", "Autocrypt",
}

// DefaultOversign are the names of which no further field may be added when nothing else is asked for: what a reader sees or a
// mail program acts on. Fields that those who pass a message on may rightly add, such as Sender, are not among them.
var DefaultOversign = []string{
	"From", "Reply-To", "Subject", "Date", "To", "Cc", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

// SignOptions is what a signature is made from.
type SignOptions struct {
	Domain, Selector string
	Identifier       string        // i=; left out when empty
	Key              crypto.Signer // RSA of at least MinBits, or Ed25519
	Header, Body     Canon         // empty is Relaxed
	Fields           []string      // names to sign, all their instances; nil is DefaultFields
	Oversign         []string      // names listed once more than they occur; nil is DefaultOversign
	Time             time.Time     // t=; zero is the present
	Expires          time.Time     // x=; left out when zero
}

// Prepend puts a header field on top of a message. If the message has no header
// and starts with white space, it would continue the field; then an empty line
// is put between them.
func Prepend(m *message.Message, field []byte) *message.Message {
	var first [1]byte
	if n, _ := m.ReadAt(first[:], 0); n == 1 && (first[0] == ' ' || first[0] == '\t') {
		field = append(bytes.Clone(field), '\n')
	}
	return m.Prepend(field)
}

// Sign returns the DKIM-Signature field for a message, with LF line ends,
// ready for Prepend (RFC 6376 section 5). It never writes l=, since that
// leaves the rest of the body to anyone.
func Sign(m *message.Message, o SignOptions) ([]byte, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o.complete()
	if !o.Expires.IsZero() && !o.Expires.After(o.Time) {
		return nil, status.Errorf(status.Config, "the signature would end before it is made")
	}
	// What is header and what is body is decided with a field on top, as the
	// verifier will see it: a message without a header gets one by that.
	m = Prepend(m, []byte("DKIM-Signature:\n"))
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	index := IndexFields(header.Fields[1:])
	names := o.names(index)
	if len(names) > MaxNames {
		return nil, status.Errorf(status.Data, "more than %d header fields to sign", MaxNames)
	}
	hash, err := HashBody(m, header.Size, BodyForm{o.Body, -1})
	if err != nil {
		return nil, err
	}
	return o.field(names, hash[0].Sum[:]).Sign(o.Key, o.Header, index.Select(names))
}

// SignBlock signs a block of bytes with an RSA or Ed25519 key, as Key.Verify checks it.
func SignBlock(key crypto.Signer, block []byte) ([]byte, error) {
	sum := sha256.Sum256(block)
	// RFC 8463 section 3: Ed25519 signs the hash, as a message of its own.
	hashed := crypto.Hash(0)
	if _, ok := key.Public().(*rsa.PublicKey); ok {
		hashed = crypto.SHA256
	}
	sig, err := key.Sign(rand.Reader, sum[:], hashed)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return sig, nil
}

// CheckName tells whether a key can be published for this domain and selector.
func CheckName(domain, selector string) error {
	switch {
	case !isName(domain):
		return fmt.Errorf("bad domain %q", domain)
	case !isName(selector):
		return fmt.Errorf("bad selector %q", selector)
	case len(Query(selector, domain)) > 253:
		return fmt.Errorf("the name %q is too long for the DNS", Query(selector, domain))
	}
	return nil
}

// Check finds what is wrong with the options, before there is a message.
func (o *SignOptions) Check() error {
	if err := CheckName(o.Domain, o.Selector); err != nil {
		return err
	}
	if o.Identifier != "" {
		at := strings.LastIndexByte(o.Identifier, '@')
		if at < 0 || !isUnder(o.Identifier[at+1:], o.Domain) {
			return fmt.Errorf("identifier %q is not under domain %q", o.Identifier, o.Domain)
		}
	}
	if o.Key == nil {
		return fmt.Errorf("no key")
	}
	if public, ok := o.Key.Public().(*rsa.PublicKey); ok && public.N.BitLen() < MinBits {
		return fmt.Errorf("rsa key of %d bits; at least %d are needed", public.N.BitLen(), MinBits)
	}
	for _, list := range [][]string{o.Fields, o.Oversign} {
		for _, n := range list {
			if !isFieldName(n) {
				return fmt.Errorf("bad header field name %q", n)
			}
		}
	}
	return nil
}

func (o *SignOptions) complete() {
	if o.Header == "" {
		o.Header = Relaxed
	}
	if o.Body == "" {
		o.Body = Relaxed
	}
	if o.Fields == nil {
		o.Fields = DefaultFields
	}
	if o.Oversign == nil {
		o.Oversign = DefaultOversign
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
}

func isFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7F || c == ':' || c == ';' {
			return false
		}
	}
	return s != ""
}

// names is the content of h=: each name as often as it occurs, once more when
// it is oversigned, and From at least once (RFC 6376 section 5.4).
func (o *SignOptions) names(index Index) []string {
	names := make([]string, 0, 32)
	for _, list := range [][]string{{"From"}, o.Fields, o.Oversign} {
		for _, n := range list {
			if hasName(names, n) {
				continue
			}
			count := index.Count(n)
			if hasName(o.Oversign, n) || count == 0 && strings.EqualFold(n, "From") {
				count++
			}
			for range count {
				names = append(names, n)
			}
		}
	}
	return names
}

func hasName(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// field writes all tags but b=.
func (o *SignOptions) field(names []string, hash []byte) *FieldWriter {
	f := NewFieldWriter("DKIM-Signature")
	f.Tag("v", "1")
	f.Tag("a", Algorithm(o.Key.Public()))
	f.Tag("c", string(o.Header)+"/"+string(o.Body))
	f.Tag("d", o.Domain)
	f.Tag("s", o.Selector)
	if o.Identifier != "" {
		f.Tag("i", encodeQP(o.Identifier))
	}
	f.Tag("t", strconv.FormatInt(o.Time.Unix(), 10))
	if !o.Expires.IsZero() {
		f.Tag("x", strconv.FormatInt(o.Expires.Unix(), 10))
	}
	f.Names("h", names)
	f.Tag("bh", base64.StdEncoding.EncodeToString(hash))
	return f
}

// Algorithm is the a= of signatures by a key.
func Algorithm(public crypto.PublicKey) string {
	if _, ok := public.(ed25519.PublicKey); ok {
		return "ed25519-sha256"
	}
	return "rsa-sha256"
}
