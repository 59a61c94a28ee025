package dkim

import (
	"crypto/sha256"
	"strings"
	"testing"

	"pennypost/internal/message"
)

// TestPiecesMakeAnotherSignature makes and checks a signature of another name and with other tags, as a package does that has one
// of its own, from the exported pieces alone.
func TestPiecesMakeAnotherSignature(t *testing.T) {
	z := testZone(t)
	o := z.options()
	m := message.Bytes([]byte(letter))
	header, err := m.Header()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := HashBody(m, header.Size, BodyForm{Relaxed, -1}, BodyForm{Simple, 3}, BodyForm{Relaxed, -1})
	if err != nil || hash[0] != hash[2] || hash[0] == hash[1] || hash[1].Size <= 3 {
		t.Fatalf("hashes %v, %v", hash, err)
	}
	index := IndexFields(header.Fields)
	names := []string{"subject", "FROM", "from", "x-none"}
	w := NewFieldWriter("Other-Signature")
	w.Tag("i", "1")
	w.Tag("a", Algorithm(keys().ed.Public()))
	w.Names("h", names)
	raw, err := w.Sign(keys().ed, Relaxed, index.Select(names))
	if err != nil {
		t.Fatal(err)
	}
	tags, unsigned, err := ParseField(raw)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := tags.Number("i", 2); n != 1 || err != nil {
		t.Errorf("i=: got %d, %v", n, err)
	}
	algorithm, _ := tags.Get("a")
	key, err := o.FetchKey(t.Context(), Query("ed", "example.org"), algorithm)
	if err != nil || key.Allows(algorithm) != nil || key.Allows("rsa-sha256") == nil {
		t.Fatalf("key %+v, %v", key, err)
	}
	sig, err := tags.Bytes("b")
	if err != nil {
		t.Fatal(err)
	}
	block := HeaderBlock(Relaxed, index.Select(tags.List("h")), unsigned)
	if !key.Verify(block, sig) || key.Verify(block[1:], sig) {
		t.Error("the signature does not tell right from wrong")
	}
	if !strings.HasPrefix(string(block), "subject:two blanks\r\nfrom:") || strings.HasSuffix(string(block), "\r\n") {
		t.Errorf("block %q", block)
	}
}

// TestHashBodyInManyForms holds the hashes of beginnings, which are taken on the way, against those of bodies that end there.
func TestHashBodyInManyForms(t *testing.T) {
	text := strings.Repeat("a  b \t c\n\n \n", 2000)
	var forms []BodyForm
	for _, c := range []Canon{Simple, Relaxed} {
		for _, l := range []int64{7, 0, -1, 4096, 4095, 7, 20001, 1 << 40} {
			forms = append(forms, BodyForm{c, l})
		}
	}
	hashes, err := HashBody(message.Bytes([]byte(text)), 0, forms...)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range forms {
		want := canonBody(f.Canon, text)
		size := int64(len(want))
		if f.Length >= 0 {
			want = want[:min(f.Length, size)]
		}
		if got := hashes[i]; got.Sum != sha256.Sum256([]byte(want)) || got.Size != size {
			t.Errorf("%v: got %x of %d bytes, want %d", f, got.Sum, got.Size, size)
		}
	}
}
