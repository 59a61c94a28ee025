package mailauth

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"testing"

	"pennypost/internal/dkim"
	"pennypost/internal/dmarc"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
)

// A signature that leaves the end of the body to anybody does not speak for the author, though it matches.
func TestPartialSignatureDoesNotCount(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	record, err := dkim.Record(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dns := mailtest.Zone(t, fmt.Sprintf("s._domainkey.example.org. TXT %q\n_dmarc.example.org. TXT \"v=DMARC1; p=reject\"\n", record))
	const text = "From: a@example.org\nSubject: x\n\nsigned\nnot signed\n"
	for length, want := range map[int64]dmarc.Result{int64(len("signed\r\n")): dmarc.Fail, int64(len("signed\r\nnot signed\r\n")): dmarc.Pass} {
		m := message.Bytes([]byte(text))
		header, err := m.Header()
		if err != nil {
			t.Fatal(err)
		}
		hash, err := dkim.HashBody(m, header.Size, dkim.BodyForm{Canon: dkim.Relaxed, Length: length})
		if err != nil {
			t.Fatal(err)
		}
		w := dkim.NewFieldWriter("DKIM-Signature")
		for _, tag := range [][2]string{{"v", "1"}, {"a", "ed25519-sha256"}, {"c", "relaxed/relaxed"}, {"d", "example.org"}, {"s", "s"},
			{"l", fmt.Sprint(length)}, {"h", "from:from"}, {"bh", base64.StdEncoding.EncodeToString(hash[0].Sum[:])}} {
			w.Tag(tag[0], tag[1])
		}
		field, err := w.Sign(key, dkim.Relaxed, dkim.IndexFields(header.Fields).Select([]string{"from", "from"}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Check(context.Background(), dkim.Prepend(m, field), Options{Resolver: dns})
		if err != nil {
			t.Fatal(err)
		}
		if s := r.DKIM[0]; !s.BodyOK || !s.HeaderOK || r.DMARC.Result != want {
			t.Errorf("l=%d: got dkim=%s (%s) and dmarc=%s, want dmarc=%s", length, s.Verdict, s.Reason, r.DMARC.Result, want)
		}
	}
}
