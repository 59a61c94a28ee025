package dkim

import (
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"pennypost/internal/message"
)

// Limits on the search for what was done to a message.
const (
	MaxRepairBody   = 1 << 20  // bytes of the body; a longer one is not searched
	MaxRepairLines  = 200      // lines that may have been added to its end
	MaxRepairHeader = 64 << 10 // bytes of the header; a longer one is not searched
	MaxRepairFields = 500      // fields of the header, the same
	MaxRepairTries  = 1000     // headers that are tried, for all signatures of a message together
)

// RepairKind is a way to undo what was done to a message.
type RepairKind string

// The repairs. Those of the body may come together with RepairLines, two of the header together.
const (
	RepairLines     RepairKind = "lines"      // the last lines are removed
	RepairPart      RepairKind = "part"       // lines before the last are removed: a part that was added to a multipart
	RepairTop       RepairKind = "top"        // the empty lines at the beginning are removed
	RepairNoTop     RepairKind = "no-top"     // an empty line is put at the beginning
	RepairBlanks    RepairKind = "blanks"     // white space at the ends of lines is removed
	RepairCR        RepairKind = "cr"         // doubled CRs are removed
	RepairBareCR    RepairKind = "bare-cr"    // each CR is a line end
	RepairLF        RepairKind = "lf"         // lines end in LF, not CRLF, when they are hashed
	RepairBlankTail RepairKind = "blank-tail" // empty lines at the end are hashed
	RepairDecode    RepairKind = "decode"     // quoted-printable or base64 is decoded
	RepairEncode    RepairKind = "encode"     // the body is quoted-printable

	RepairDecodeParts RepairKind = "decode-parts" // parts of a multipart are 8bit, not quoted-printable

	RepairTag      RepairKind = "tag"      // a tag is taken out of Subject
	RepairUnfold   RepairKind = "unfold"   // a field is put on one line
	RepairFold     RepairKind = "fold"     // a field is folded
	RepairCommas   RepairKind = "commas"   // white space behind commas is as it was
	RepairRemove   RepairKind = "remove"   // a field is removed
	RepairEncoding RepairKind = "encoding" // Content-Transfer-Encoding is another one
)

// Repair is one thing that makes a half of a signature match when it is undone.
type Repair struct {
	Kind  RepairKind `json:"kind"`
	Lines int        `json:"lines,omitempty"` // how many
	Field string     `json:"field,omitempty"` // of the header
	Text  string     `json:"text,omitempty"`  // what is removed from it or put in its place
}

// String ends a sentence such as "it matches if ...".
func (r Repair) String() string {
	switch r.Kind {
	case RepairLines:
		return fmt.Sprintf("the last %s removed", lines(r.Lines, ""))
	case RepairPart:
		return fmt.Sprintf("the %s removed", lines(r.Lines, " before the last boundary"))
	case RepairDecodeParts:
		return fmt.Sprintf("%s is 8bit, as it was before it was encoded on the way", r.Text)
	case RepairTag:
		return fmt.Sprintf("%q is taken out of %s", r.Text, r.Field)
	case RepairUnfold:
		return fmt.Sprintf("%s is put on one line", cmp.Or(r.Field, "every field"))
	case RepairFold:
		return fmt.Sprintf("%s is folded", r.Field)
	case RepairCommas:
		return fmt.Sprintf("the blanks behind the commas of %s are as they were", r.Field)
	case RepairRemove:
		return fmt.Sprintf("a field %s is removed", r.Field)
	case RepairEncoding:
		return fmt.Sprintf("%s is %s", r.Field, r.Text)
	}
	return repairs[r.Kind]
}

var repairs = map[RepairKind]string{
	RepairTop:       "the empty lines at its beginning are removed",
	RepairNoTop:     "an empty line is put at its beginning",
	RepairBlanks:    "the white space at the ends of its lines is removed",
	RepairCR:        "doubled CRs are removed",
	RepairBareCR:    "each CR is a line end",
	RepairLF:        "its lines end in LF when they are hashed, which is a mistake of the signer",
	RepairBlankTail: "empty lines at its end are hashed",
	RepairDecode:    "it is decoded, as it was before it was encoded on the way",
	RepairEncode:    "it is encoded as quoted-printable, as it was before it was decoded on the way",
}

func lines(n int, where string) string {
	if n == 1 {
		return "line" + where + " is"
	}
	return fmt.Sprintf("%d lines%s are", n, where)
}

// Damage is what is known of why a signature does not match.
type Damage struct {
	Body   []Repair // that make the body match; empty if it does, or if none was found
	Header []Repair // the same for the header
	// Searched tell whether there was a search at all: not where a half matches, and not beyond the limits.
	BodySearched, HeaderSearched bool
	// WantHeader is the hash that was signed, which an RSA signature gives away; GotHeader is that of the header as it is.
	WantHeader, GotHeader string
	Foreign               bool // the signature was not made with this key, or not by this algorithm, or it was damaged itself
}

// Examine looks for what was done to a message whose signatures do not match, among the things that are usually done on the way:
// see the kinds of repairs. It takes the results of Verify for the message and gives back as many. The time it takes grows with
// the size of the message and is bounded by the limits. The error is that of reading.
func Examine(m *message.Message, results []Result) ([]Damage, error) {
	header, err := m.Header()
	if err != nil {
		return nil, err
	}
	found := make([]Damage, len(results))
	bodies := map[Canon]targets{}
	h := newHeaderSearch(header)
	n := 0
	for _, f := range header.All("DKIM-Signature") {
		if n == len(results) {
			break
		}
		r, d := &results[n], &found[n]
		n++
		if r.GotBody == "" {
			continue // it was not looked at
		}
		s, err := parseSignature(f.Raw)
		if err != nil {
			continue
		}
		if !r.BodyOK && s.length < 0 && len(s.hash) == sha256.Size {
			bodies[s.body] = append(bodies[s.body], target{[sha256.Size]byte(s.hash), d})
		}
		h.examine(&s, r, d)
	}
	if len(bodies) == 0 || m.Size()-header.Size > MaxRepairBody {
		return found, nil
	}
	text := make([]byte, m.Size()-header.Size)
	if _, err := m.ReadAt(text, header.Size); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	for c, wanted := range bodies {
		searchBody(c, text, header.Get("Content-Transfer-Encoding"), wanted)
	}
	return found, nil
}

// headerSearch tries headers.
type headerSearch struct {
	fields []message.Field
	large  bool
	tries  int
}

func newHeaderSearch(h message.Header) *headerSearch {
	return &headerSearch{fields: h.Fields, large: h.Size > MaxRepairHeader || len(h.Fields) > MaxRepairFields}
}

// examine fills in what a signature says of the header.
func (h *headerSearch) examine(s *signature, r *Result, d *Damage) {
	key, err := ParseKey(r.Key)
	if err != nil || r.Bits == 0 {
		return
	}
	sum := sha256.Sum256(r.Canonical)
	d.GotHeader = base64.StdEncoding.EncodeToString(sum[:])
	holds := func(sum [sha256.Size]byte) bool { return key.VerifySum(sum, s.sig) }
	if public, ok := key.Public.(*rsa.PublicKey); ok {
		want, ok := signedSum(public, s.sig)
		if d.Foreign = !ok; d.Foreign {
			return
		}
		d.WantHeader = base64.StdEncoding.EncodeToString(want[:])
		holds = func(sum [sha256.Size]byte) bool { return sum == want }
	}
	if r.HeaderOK || h.large {
		return
	}
	d.HeaderSearched = true
	d.Header = h.search(s, holds)
}

// sha256Prefix stands before a SHA-256 in what RSA signs (RFC 8017 section 9.2, note 1).
const sha256Prefix = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// signedSum is the hash that an RSA signature by PKCS #1 v1.5 is of; not ok if it is none by this key.
func signedSum(public *rsa.PublicKey, sig []byte) (sum [sha256.Size]byte, ok bool) {
	s := new(big.Int).SetBytes(sig)
	if len(sig) != public.Size() || public.N.BitLen() > MaxBits || s.Cmp(public.N) >= 0 {
		return sum, false
	}
	em := new(big.Int).Exp(s, big.NewInt(int64(public.E)), public.N).FillBytes(make([]byte, public.Size()))
	fill := len(em) - 3 - len(sha256Prefix) - sha256.Size
	if fill < 8 || string(em[:len(em)-sha256.Size]) != "\x00\x01"+strings.Repeat("\xff", fill)+"\x00"+sha256Prefix {
		return sum, false
	}
	return [sha256.Size]byte(em[len(em)-sha256.Size:]), true
}

// edit is a repair of the header: another field in the place of some, nil to remove it.
type edit struct {
	repair Repair
	fields map[int][]byte
}

// search tries each edit alone, then every two of different fields.
func (h *headerSearch) search(s *signature, holds func([sha256.Size]byte) bool) []Repair {
	edits := h.edits(s)
	try := func(all ...edit) bool {
		h.tries++
		return holds(sha256.Sum256(h.block(s, all)))
	}
	for _, e := range edits {
		if h.tries >= MaxRepairTries {
			return nil
		}
		if try(e) {
			return []Repair{e.repair}
		}
	}
	for i, a := range edits {
		for _, b := range edits[i+1:] {
			if len(a.fields) != 1 || len(b.fields) != 1 || a.repair.Field == b.repair.Field {
				continue
			}
			if h.tries >= MaxRepairTries {
				return nil
			}
			if try(a, b) {
				return []Repair{a.repair, b.repair}
			}
		}
	}
	return nil
}

// block is the header as it is hashed after the edits.
func (h *headerSearch) block(s *signature, all []edit) []byte {
	fields := make([]message.Field, 0, len(h.fields))
	for i, f := range h.fields {
		keep := true
		for _, e := range all {
			if raw, ok := e.fields[i]; ok {
				f.Raw, keep = raw, raw != nil
			}
		}
		if keep {
			fields = append(fields, f)
		}
	}
	return s.block(IndexFields(fields))
}

// maxEdits is how many edits of single fields are tried, so that pairs get a try too.
const maxEdits = 200

// edits are those that change what is signed.
func (h *headerSearch) edits(s *signature) []edit {
	signed := map[string]bool{}
	for _, n := range s.names {
		signed[strings.ToLower(n)] = true
	}
	var out, removals []edit
	unfolded := edit{Repair{Kind: RepairUnfold}, map[int][]byte{}}
	for i, f := range h.fields {
		if !signed[strings.ToLower(f.Name)] || len(out) > maxEdits {
			continue
		}
		seen := []string{string(canonField(nil, f.Raw, s.header))}
		for _, c := range changes(f, s.header) {
			canon := string(canonField(nil, c.raw, s.header))
			if slices.Contains(seen, canon) {
				continue // it makes no difference
			}
			seen = append(seen, canon)
			c.repair.Field = f.Name
			out = append(out, edit{c.repair, map[int][]byte{i: c.raw}})
			if c.repair.Kind == RepairUnfold && unfolded.fields[i] == nil {
				unfolded.fields[i] = c.raw
			}
		}
		removals = append(removals, edit{Repair{Kind: RepairRemove, Field: f.Name}, map[int][]byte{i: nil}})
	}
	if len(unfolded.fields) > 1 {
		out = append(out, unfolded)
	}
	return append(out, removals[:min(len(removals), maxEdits)]...)
}
