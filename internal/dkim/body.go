package dkim

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

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

// hasher hashes a body in one canonical form, and the beginnings of it that are asked for on the way, so that they cost nothing.
type hasher struct {
	canon body
	hash  hash.Hash
	size  int64   // of what was hashed
	cuts  []int64 // sizes of beginnings, in their order; those that were passed are gone
	sums  map[int64][sha256.Size]byte
}

// What is needed to hash a body is kept for the next one.
var (
	hashers = sync.Pool{New: func() any { return &hasher{hash: sha256.New()} }}
	buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// newHasher makes a hasher for those of the forms that are in canonical form c, or nil if there are none.
func newHasher(c Canon, forms []BodyForm) *hasher {
	var cuts []int64
	any := false
	for _, f := range forms {
		if (f.Canon == Relaxed) != (c == Relaxed) {
			continue
		}
		any = true
		if f.Length >= 0 {
			cuts = append(cuts, f.Length)
		}
	}
	if !any {
		return nil
	}
	slices.Sort(cuts)
	h := hashers.Get().(*hasher)
	h.hash.Reset()
	h.canon.reset(h, c)
	h.size, h.cuts, h.sums = 0, slices.Compact(cuts), nil
	return h
}

// Write takes bytes in canonical form.
func (h *hasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(h.cuts) > 0 && h.cuts[0]-h.size <= int64(len(p)) {
		part := p[:h.cuts[0]-h.size]
		_, _ = h.hash.Write(part)
		h.keep(h.cuts[0])
		h.size += int64(len(part))
		p, h.cuts = p[len(part):], h.cuts[1:]
	}
	_, _ = h.hash.Write(p)
	h.size += int64(len(p))
	return n, nil
}

// keep notes the hash of what came so far as that of the first length bytes.
func (h *hasher) keep(length int64) {
	if h.sums == nil {
		h.sums = map[int64][sha256.Size]byte{}
	}
	h.sums[length] = h.sum()
}

func (h *hasher) sum() (sum [sha256.Size]byte) {
	h.hash.Sum(sum[:0])
	return sum
}

// result is the hash of the first length bytes, or of all if there are fewer or length is negative.
func (h *hasher) result(length int64) BodyHash {
	if sum, ok := h.sums[length]; ok {
		return BodyHash{sum, h.size}
	}
	return BodyHash{h.sum(), h.size}
}

// HashBody hashes what of a message begins at offset from, in each of the forms, and reads it once for all of them. The error is
// that of reading.
func HashBody(m *message.Message, from int64, forms ...BodyForm) ([]BodyHash, error) {
	simple, relaxed := newHasher(Simple, forms), newHasher(Relaxed, forms)
	for _, h := range []*hasher{simple, relaxed} {
		if h != nil {
			defer hashers.Put(h)
		}
	}
	if err := readBody(m, from, simple, relaxed); err != nil {
		return nil, err
	}
	out := make([]BodyHash, len(forms))
	for i, f := range forms {
		if f.Canon == Relaxed {
			out[i] = relaxed.result(f.Length)
		} else {
			out[i] = simple.result(f.Length)
		}
	}
	return out, nil
}

// readBody gives the body to each hasher that is not nil, and the end of it.
func readBody(m *message.Message, from int64, all ...*hasher) error {
	all = slices.DeleteFunc(all, func(h *hasher) bool { return h == nil })
	if len(all) == 0 {
		return nil
	}
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for at := from; at < m.Size(); {
		n, err := m.ReadAt(buf[:min(int64(len(buf)), m.Size()-at)], at)
		for _, h := range all {
			_, _ = h.canon.Write(buf[:n])
		}
		at += int64(n)
		if err != nil && (err != io.EOF || at < m.Size()) {
			return fmt.Errorf("reading the body: %w", err)
		}
	}
	for _, h := range all {
		_ = h.canon.Close()
	}
	return nil
}
