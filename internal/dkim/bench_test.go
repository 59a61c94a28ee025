//go:build unix

package dkim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"strings"
	"testing"
	"time"

	oracle "github.com/emersion/go-msgauth/dkim"

	"pennypost/internal/message"
)

// benchLetter is an ordinary message: eight fields that get signed, some that do not, and a body of 10 kB.
var benchLetter = "Received: from mail.example.org (mail.example.org [192.0.2.1])\n\tby mx.example.net with ESMTPS id 4XyZ;\n" +
	"\tTue, 24 Nov 2026 06:00:01 +0000\nFrom: Alice <alice@example.org>\nTo: Bob <bob@example.net>\nSubject: the weekly report\n" +
	"Date: Tue, 24 Nov 2026 06:00:00 +0000\nMessage-ID: <20261124.1@example.org>\nMIME-Version: 1.0\n" +
	"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\nX-Mailer: by hand\n\n" +
	strings.Repeat("These are lines of a letter, as people write them: words of every length,\nin paragraphs that a program has wrapped"+
		" somewhere before column 78, with\nan empty line between them. It is neither dense nor long, and there are a\nhundred "+
		"such letters in the box of anybody, and nobody reads them all.\n\n", 34)

// contender is one way to do a job.
type contender struct {
	name string
	run  func(b *testing.B)
}

func verifier(text string, o VerifyOptions) func(*testing.B) {
	m := message.Bytes([]byte(text))
	return func(b *testing.B) {
		r, err := Verify(b.Context(), m, o)
		if err != nil || len(r) == 0 || r[0].Verdict != Pass {
			b.Fatal(r, err)
		}
	}
}

func oracleVerifier(text string, z zone) func(*testing.B) {
	return func(b *testing.B) {
		v, err := oracle.VerifyWithOptions(strings.NewReader(text), &oracle.VerifyOptions{LookupTXT: z.lookup})
		if err != nil || len(v) == 0 || v[0].Err != nil {
			b.Fatal(v, err)
		}
	}
}

// compare lets the contenders take turns, and reports how often each does its job in a second of CPU at its best, and the first
// one's speed as a multiple of the others'. Turns, CPU time and the best of many keep the load of the machine out of the ratios; a
// turn is long enough for a garbage collection or two, which belong to the job.
func compare(b *testing.B, all ...contender) {
	best := make([]time.Duration, len(all))
	once := time.Hour
	for range 100 {
		start := time.Now()
		all[0].run(b)
		once = min(once, time.Since(start))
	}
	turn := max(1, 15*time.Millisecond/once)
	for b.Loop() {
		for i, c := range all {
			start := cpu(b)
			for range turn {
				c.run(b)
			}
			if took := (cpu(b) - start) / turn; best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, c := range all {
		b.ReportMetric(float64(time.Second)/float64(best[i]), c.name+"/s")
		if i > 0 {
			b.ReportMetric(float64(best[i])/float64(best[0]), "x_"+c.name)
		}
	}
}

// BenchmarkVerify sets our verifier beside that of go-msgauth, and RSA and SHA-256 alone, which neither can beat.
func BenchmarkVerify(b *testing.B) {
	z := testZone(b)
	key := keys().rsa
	sum := sha256.Sum256(nil)
	sig, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	data := []byte(benchLetter)
	bare := contender{"rsa_and_sha", func(b *testing.B) {
		sha256.Sum256(data)
		if err := rsa.VerifyPKCS1v15(key.Public().(*rsa.PublicKey), crypto.SHA256, sum[:], sig); err != nil {
			b.Fatal(err)
		}
	}}
	cached := z.options()
	cached.Keys = new(KeyCache)
	for _, c := range []string{"relaxed/relaxed", "simple/simple"} {
		o := signer("rsa")
		o.Header, o.Body, _ = ParseCanon(c)
		text := crlf(signed(b, benchLetter, o))
		b.Run(c, func(b *testing.B) {
			compare(b, contender{"ours", verifier(text, cached)}, contender{"uncached", verifier(text, z.options())},
				contender{"go-msgauth", oracleVerifier(text, z)}, bare)
		})
	}
	text := crlf(signed(b, benchLetter, signer("rsa")))
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		run := verifier(text, cached)
		for b.Loop() {
			run(b)
		}
	})
}

// BenchmarkSign sets signing beside go-msgauth and RSA alone.
func BenchmarkSign(b *testing.B) {
	m := message.Bytes([]byte(benchLetter))
	text := crlf(benchLetter)
	sum := sha256.Sum256(nil)
	compare(b,
		contender{"ours", func(b *testing.B) {
			if _, err := Sign(m, signer("rsa")); err != nil {
				b.Fatal(err)
			}
		}},
		contender{"go-msgauth", func(b *testing.B) {
			o := &oracle.SignOptions{Domain: "example.org", Selector: "rsa", Signer: keys().rsa,
				HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed"}
			if err := oracle.Sign(io.Discard, strings.NewReader(text), o); err != nil {
				b.Fatal(err)
			}
		}},
		contender{"rsa", func(b *testing.B) {
			if _, err := keys().rsa.Sign(nil, sum[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}})
}

// BenchmarkBody is the canonical form of a body alone.
func BenchmarkBody(b *testing.B) {
	_, letterBody, _ := strings.Cut(benchLetter, "\n\n")
	for name, text := range map[string]string{"LF": letterBody, "CRLF": crlf(letterBody), "blank lines": strings.Repeat("\n", 10000) + "x"} {
		for _, c := range []Canon{Simple, Relaxed} {
			b.Run(string(c)+"/"+name, func(b *testing.B) {
				data := []byte(text)
				b.SetBytes(int64(len(data)))
				f := new(body)
				for b.Loop() {
					f.reset(io.Discard, c)
					_, _ = f.Write(data)
					_ = f.Close()
				}
			})
		}
	}
}
