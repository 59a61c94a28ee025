package arc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

// These are why a chain takes no further set. The message is to go on as it is.
var (
	// ErrClosed says that an earlier handler found that the chain fails (RFC 8617 section 5.1.2).
	ErrClosed = errors.New("the chain was marked as failed before")
	// ErrFull says that there are MaxSets sets.
	ErrFull = fmt.Errorf("the chain has %d sets, which is the most that it may have", MaxSets)
)

// DefaultFields are the names that are signed when nothing else is asked for: those of DKIM, and its signatures (RFC 8617
// section 4.1.2).
var DefaultFields = append(slices.Clone(dkim.DefaultFields), "DKIM-Signature")

// SealOptions is what a set is made from.
type SealOptions struct {
	// Sign has the key and what is signed; Fields are by default DefaultFields. Identifier and Expires have no meaning here.
	Sign dkim.SignOptions
	// Chain is the report on the message as it came in, before anything was changed: its result is what the seal says.
	Chain *Report
	// Results is what our checks of the message came to when it came in: authserv-id, semicolon, results (RFC 8601 section
	// 2.2), perhaps folded.
	Results string
}

// Check finds what is wrong with the options, before there is a message.
func (o *SealOptions) Check() error {
	for _, list := range [][]string{o.Sign.Fields, o.Sign.Oversign} {
		for _, n := range list {
			f := message.Field{Name: n}
			if _, ok := kindOf(f); ok || f.Is("Authentication-Results") {
				return fmt.Errorf("%s must not be signed by %s", n, names[signature]) // RFC 8617 section 4.1.2
			}
		}
	}
	return o.Sign.Check()
}

// Seal returns the three fields of one more set for a message, with LF line ends, ready for dkim.Prepend (RFC 8617
// section 5.1). Everything that changes the message must be done before, since the set covers the message as it is. A
// chain that fails gets one last set, which covers only itself. The error is ErrClosed or ErrFull when there can be none.
func Seal(m *message.Message, o SealOptions) ([]byte, error) {
	switch {
	case o.Chain.Closed:
		return nil, ErrClosed
	case o.Chain.Instances >= MaxSets:
		return nil, ErrFull
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := checkFolded(o.Results); err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	if o.Sign.Fields == nil {
		o.Sign.Fields = DefaultFields
	}
	o.Sign.Complete()
	i := o.Chain.Instances + 1
	var set [fields][]byte
	set[results] = fmt.Appendf(nil, "%v: i=%d; %s\n", results, i, o.Results)
	var err error
	if set[signature], err = o.signMessage(m, i); err != nil {
		return nil, err
	}
	if set[seal], err = o.signChain(set, i); err != nil {
		return nil, err
	}
	return slices.Concat(set[seal], set[signature], set[results]), nil
}

// checkFolded accepts what can stand in a header field after other text.
func checkFolded(s string) error {
	for i, line := range strings.Split(s, "\n") {
		if strings.TrimLeft(line, " \t") == "" {
			return fmt.Errorf("an empty line")
		}
		if i > 0 && line[0] != ' ' && line[0] != '\t' {
			return fmt.Errorf("a line that does not continue the field")
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }) {
			return fmt.Errorf("a control byte")
		}
	}
	return nil
}

// signMessage makes the ARC-Message-Signature.
func (o *SealOptions) signMessage(m *message.Message, instance int) ([]byte, error) {
	// What is header and what is body is decided with a field on top, as the verifier will see it.
	m = dkim.Prepend(m, []byte(names[seal]+":\n"))
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	index := dkim.IndexFields(header.Fields[1:])
	signed := o.Sign.Names(index)
	if len(signed) > dkim.MaxNames {
		return nil, fmt.Errorf("more than %d header fields to sign", dkim.MaxNames)
	}
	hash, err := dkim.HashBody(m, header.Size, dkim.BodyForm{Canon: o.Sign.Body, Length: -1})
	if err != nil {
		return nil, err
	}
	w := o.start(signature, instance)
	w.Tag("c", string(o.Sign.Header)+"/"+string(o.Sign.Body))
	w.Names("h", signed)
	w.Tag("bh", base64.StdEncoding.EncodeToString(hash[0].Sum[:]))
	return w.Sign(o.Sign.Key, o.Sign.Header, index.Select(signed))
}

// signChain makes the ARC-Seal over the sets before it, if they are a chain, and this one.
func (o *SealOptions) signChain(set [fields][]byte, instance int) ([]byte, error) {
	var covered [][]byte
	if o.Chain.Result == Pass {
		for _, s := range o.Chain.Sets {
			covered = append(covered, s.raw[:]...)
		}
	}
	covered = append(covered, set[results], set[signature])
	w := o.start(seal, instance)
	w.Tag("cv", string(o.Chain.Result))
	return w.Sign(o.Sign.Key, dkim.Relaxed, covered)
}

// start writes what both signatures have.
func (o *SealOptions) start(k kind, instance int) *dkim.FieldWriter {
	w := dkim.NewFieldWriter(names[k])
	w.Tag("i", strconv.Itoa(instance))
	w.Tag("a", dkim.Algorithm(o.Sign.Key.Public()))
	w.Tag("d", o.Sign.Domain)
	w.Tag("s", o.Sign.Selector)
	w.Tag("t", strconv.FormatInt(o.Sign.Time.Unix(), 10))
	return w
}
