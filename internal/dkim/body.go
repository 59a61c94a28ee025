package dkim

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"pennypost/internal/message"
)

// BodyForm is what is hashed of a body: its canonical form, and of that so many bytes (l=), or all when Length is negative.
type BodyForm struct {
	Canon  Canon
	Length int64
}

// BodyHash is what bh= must be, in its bytes, and the size of the whole canonical body.
type BodyHash struct {
	Sum  [sha256.Size]byte
	Size int64
}

// hasher hashes a body in one form.
type hasher struct {
	hash  hash.Hash
	limit *limit
	canon *body
}

func newHasher(f BodyForm) *hasher {
	h := sha256.New()
	l := &limit{w: h, max: f.Length}
	return &hasher{h, l, newBody(l, f.Canon)}
}

func (h *hasher) result() (b BodyHash) {
	_ = h.canon.Close()
	h.hash.Sum(b.Sum[:0])
	b.Size = h.limit.got
	return b
}

// HashBody hashes what of a message begins at offset from, in each of the forms, and reads it once for all of them. The error is
// that of reading.
func HashBody(m *message.Message, from int64, forms ...BodyForm) ([]BodyHash, error) {
	hashers := map[BodyForm]*hasher{}
	var all []io.Writer
	for _, f := range forms {
		if hashers[f] == nil {
			hashers[f] = newHasher(f)
			all = append(all, hashers[f].canon)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	r := io.NewSectionReader(m, from, m.Size()-from)
	if _, err := io.CopyBuffer(io.MultiWriter(all...), struct{ io.Reader }{r}, make([]byte, 32<<10)); err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	sums := map[BodyForm]BodyHash{}
	for f, h := range hashers {
		sums[f] = h.result()
	}
	out := make([]BodyHash, len(forms))
	for i, f := range forms {
		out[i] = sums[f]
	}
	return out, nil
}
