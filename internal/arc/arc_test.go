package arc

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

const letter = `DKIM-Signature: v=1; d=example.org; b=x
From: Alice <alice@example.org>
To: bob@example.net
Subject: hello
Date: Tue, 24 Nov 2026 10:00:00 +0000

Hello Bob,
  two   blanks
`

// keys are made once: an RSA key takes a while.
var keys = sync.OnceValue(func() (k struct{ rsa, ed crypto.Signer }) {
	var err error
	if k.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if _, k.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	return k
})

// zone has the keys of hop1.test, hop2.test and so on under the selector rsa, and under ed.
func zone(t testing.TB) map[string]string {
	t.Helper()
	z := map[string]string{}
	for name, k := range map[string]crypto.Signer{"rsa": keys().rsa, "ed": keys().ed} {
		record, err := dkim.Record(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= MaxSets+1; i++ {
			z[dkim.Query(name, hop(i))] = record
		}
	}
	return z
}

func hop(i int) string { return fmt.Sprintf("hop%d.test", i) }

// fromMap answers TXT questions from a map.
func fromMap(records map[string]string) func(context.Context, string) ([]string, error) {
	return func(_ context.Context, name string) ([]string, error) {
		switch r, ok := records[name]; {
		case !ok:
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		case r == "SERVFAIL":
			return nil, &net.DNSError{Err: "server failure", Name: name, IsTemporary: true}
		default:
			return []string{r}, nil
		}
	}
}

func verify(t testing.TB, text string, records map[string]string) *Report {
	t.Helper()
	r, err := Verify(context.Background(), message.Bytes([]byte(text)), dkim.VerifyOptions{LookupTXT: fromMap(records)})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return r
}

var sealTime = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func options(i int) SealOptions {
	return SealOptions{
		Sign:    dkim.SignOptions{Domain: hop(i), Selector: "rsa", Key: keys().rsa, Time: sealTime},
		Results: "mx." + hop(i) + ";\n\tdmarc=pass header.from=example.org",
	}
}

// sealed is the message after hop i, which changes nothing else.
func sealed(t testing.TB, text string, i int, records map[string]string) string {
	t.Helper()
	o := options(i)
	o.Chain = verify(t, text, records)
	return withSet(t, text, o)
}

func withSet(t testing.TB, text string, o SealOptions) string {
	t.Helper()
	set, err := Seal(message.Bytes([]byte(text)), o)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return string(set) + text
}

func TestSealAndVerify(t *testing.T) {
	z := zone(t)
	text := letter
	for i := 1; i <= 3; i++ {
		text = sealed(t, text, i, z)
		r := verify(t, text, z)
		if r.Result != Pass || r.Instances != i || r.OldestPass != 0 || len(r.Sets) != i {
			t.Fatalf("hop %d: got %+v, want pass", i, r)
		}
	}
	for i, s := range verify(t, text, z).Sets {
		want := "mx." + hop(i+1) + ";\tdmarc=pass header.from=example.org"
		if s.Instance != i+1 || s.Results != want || s.Seal.Domain != hop(i+1) || s.Message.Domain != hop(i+1) {
			t.Errorf("set %d: got %+v", i+1, s)
		}
		for _, sig := range []Signature{s.Message, s.Seal} {
			if !sig.OK || !sig.HeaderOK || sig.Bits != 2048 || sig.Query != dkim.Query("rsa", hop(i+1)) || !sig.Time.Equal(sealTime) {
				t.Errorf("set %d: got %+v", i+1, sig)
			}
		}
		if !s.Message.Covers("from") || !s.Message.Covers("DKIM-Signature") || s.Message.Covers("Received") {
			t.Errorf("set %d covers %q", i+1, s.Message.Names)
		}
	}
}

func TestSealForms(t *testing.T) {
	z := zone(t)
	for _, key := range []string{"rsa", "ed"} {
		for _, c := range []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"} {
			for _, text := range []string{
				letter, "", "\n", " starts with a blank\n", "From: a@b\n", "no header\n", "From: a@b\r\n\r\nx\r\n",
			} {
				o := options(1)
				o.Chain = verify(t, text, z)
				o.Sign.Header, o.Sign.Body, _ = dkim.ParseCanon(c)
				o.Sign.Selector = key
				if key == "ed" {
					o.Sign.Key = keys().ed
				}
				m := message.Bytes([]byte(text))
				set, err := Seal(m, o)
				if err != nil {
					t.Fatal(err)
				}
				r, err := Verify(context.Background(), dkim.Prepend(m, set), dkim.VerifyOptions{LookupTXT: fromMap(z)})
				if err != nil || r.Result != Pass {
					t.Errorf("%s %s %q: got %s (%s, %v), want pass", key, c, text, r.Result, r.Reason, err)
				}
			}
		}
	}
}

// TestChanges changes a sealed message in one place.
func TestChanges(t *testing.T) {
	z := zone(t)
	one := sealed(t, letter, 1, z)
	footer := one + "-- \nthe list\n"
	o := options(2)
	o.Chain = verify(t, one, z)
	two := withSet(t, footer, o)
	for _, c := range []struct {
		name, text string
		result     Result
		oldest     int
		reason     string
	}{
		{"as it is", one, Pass, 0, ""},
		{"a footer", footer, Fail, 0, "message signature 1: the body hash does not match"},
		{"a new subject", strings.Replace(one, "hello", "[list] hello", 1), Fail, 0,
			"message signature 1: the signature does not match"},
		{"a second From", "From: mallory@example.com\n" + one, Fail, 0, "message signature 1: the signature does not match"},
		{"other results", strings.Replace(one, "dmarc=pass", "dmarc=fail", 1), Fail, 0, "seal 1: the signature does not match"},
		{"an unsigned field", "Received: by x\n" + one, Pass, 0, ""},
		{"the list seals its footer", two, Pass, 2, ""},
		{"older results", replaceLast(two, "dmarc=pass", "dmarc=fail"), Fail, 0, "seal 2: the signature does not match"},
		{"a set too few", strings.Replace(one, "ARC-Message-Signature", "X-Signature", 1), Fail, 0,
			"set 1 has no ARC-Message-Signature"},
		{"a set missing", strings.ReplaceAll(one, "i=1;", "i=2;"), Fail, 0, "set 1 is missing"},
		{"a field twice", "ARC-Authentication-Results: i=1; x; none\n" + one, Fail, 0, "set 1 has ARC-Authentication-Results twice"},
		{"wrong cv", strings.Replace(one, "cv=none", "cv=pass", 1), Fail, 0, `set 1 has cv="pass", not none`},
		{"an instance too high", "ARC-Authentication-Results: i=51; x; none\n" + one, Fail, 0,
			"ARC-Authentication-Results without an instance from 1 to 50 in i="},
		{"h= in a seal", strings.Replace(one, "cv=none;", "cv=none; h=from;", 1), Fail, 0, "ARC-Seal with h=, which it must not have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := verify(t, c.text, z)
			oldest := r.OldestPass
			if r.Result != Pass {
				oldest = 0
			}
			if r.Result != c.result || oldest != c.oldest || r.Reason != c.reason || r.Temporary {
				t.Errorf("got %s, oldest %d, %q; want %s, oldest %d, %q", r.Result, oldest, r.Reason, c.result, c.oldest, c.reason)
			}
		})
	}
}

func replaceLast(s, old, new string) string {
	i := strings.LastIndex(s, old)
	return s[:i] + new + s[i+len(old):]
}

// TestFailedChain has a chain that fails: it is sealed once more, with cv=fail, and that is its end.
func TestFailedChain(t *testing.T) {
	z := zone(t)
	broken := sealed(t, letter, 1, z) + "a footer that nobody sealed\n"
	for _, text := range []string{
		broken, strings.Replace(broken, "i=1", "i=x", 1), strings.Replace(broken, "ARC-Seal", "X-Seal", 1),
	} {
		marked := sealed(t, text, 2, z)
		if !strings.Contains(marked, "cv=fail") {
			t.Fatalf("no cv=fail in:\n%s", marked)
		}
		r := verify(t, marked, z)
		if r.Result != Fail || !r.Closed || r.Temporary {
			t.Errorf("got %+v, want a closed chain that fails", r)
		}
		o := options(3)
		o.Chain = r
		if _, err := Seal(message.Bytes([]byte(marked)), o); !errors.Is(err, ErrClosed) {
			t.Errorf("sealing it again: got %v, want %v", err, ErrClosed)
		}
		checkAlone(t, marked)
	}
}

// checkAlone checks that the seal on top holds as if its set were the only one (RFC 8617 section 5.1.2).
func checkAlone(t *testing.T, text string) {
	t.Helper()
	header, err := message.Bytes([]byte(text)).Header()
	if err != nil {
		t.Fatal(err)
	}
	var set [fields][]byte
	var s *Set
	for _, f := range header.Fields[:fields] {
		k, _ := kindOf(f)
		set[k] = f.Raw
		if k == seal {
			if s, err = readField(k, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum := newSealHash().next(set, s.Seal.parsed.unsigned)
	if err := rsa.VerifyPKCS1v15(keys().rsa.Public().(*rsa.PublicKey), crypto.SHA256, sum[:], s.Seal.parsed.sig); err != nil {
		t.Errorf("the seal of a failed chain does not stand alone: %v", err)
	}
}

func TestFullChain(t *testing.T) {
	z := zone(t)
	text := letter
	for i := 1; i <= MaxSets; i++ {
		text = sealed(t, text, i, z)
	}
	r := verify(t, text, z)
	if r.Result != Pass || r.Instances != MaxSets {
		t.Fatalf("got %s (%s) with %d sets, want %d that pass", r.Result, r.Reason, r.Instances, MaxSets)
	}
	o := options(MaxSets + 1)
	o.Chain = r
	if _, err := Seal(message.Bytes([]byte(text)), o); !errors.Is(err, ErrFull) {
		t.Errorf("one more set: got %v, want %v", err, ErrFull)
	}
}

// TestTooManyFields has more fields than a chain may have, of whatever instance: nothing is added to them.
func TestTooManyFields(t *testing.T) {
	text := strings.Repeat("ARC-Seal: x\n", MaxSets*int(fields)+1) + letter
	o := options(1)
	o.Chain = verify(t, text, nil)
	if _, err := Seal(message.Bytes([]byte(text)), o); o.Chain.Result != Fail || !errors.Is(err, ErrFull) {
		t.Errorf("got %s, sealed %v; want fail and %v", o.Chain.Result, err, ErrFull)
	}
}

func TestReproducible(t *testing.T) {
	z := zone(t)
	if a, b := sealed(t, letter, 1, z), sealed(t, letter, 1, z); a != b {
		t.Errorf("two seals of the same time differ:\n%s\n%s", a, b)
	}
}

// TestKeys has keys that are not there or not good, of one hop or both.
func TestKeys(t *testing.T) {
	z := zone(t)
	text := sealed(t, sealed(t, letter, 1, z), 2, z)
	one, two := dkim.Query("rsa", hop(1)), dkim.Query("rsa", hop(2))
	for _, c := range []struct {
		name      string
		keys      map[string]string
		temporary bool
		reason    string
	}{
		{"the newest cannot be fetched", map[string]string{two: "SERVFAIL"}, true,
			"message signature 2: fetching the key at rsa._domainkey.hop2.test: server failure"},
		{"an older one cannot be fetched", map[string]string{one: "SERVFAIL"}, true,
			"seal 1: fetching the key at rsa._domainkey.hop1.test: server failure"},
		{"no newest", map[string]string{two: ""}, false, "message signature 2: "},
		{"one cannot be fetched, one is not there", map[string]string{two: "SERVFAIL", one: "v=DKIM1; p="}, false,
			"message signature 2: fetching"},
		{"revoked", map[string]string{one: "v=DKIM1; p="}, false, "seal 1: rsa._domainkey.hop1.test: the key is revoked"},
		{"another kind", map[string]string{one: z[dkim.Query("ed", hop(1))]}, false, "seal 1: the key is ed25519, the signature rsa"},
		{"not for mail", map[string]string{one: strings.Replace(z[one], "v=DKIM1;", "v=DKIM1; s=web;", 1)}, false,
			"seal 1: the key is not for email"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := zone(t)
			for name, record := range c.keys {
				all[name] = record
			}
			r := verify(t, text, all)
			if r.Result != Fail || r.Temporary != c.temporary || !strings.HasPrefix(r.Reason, c.reason) {
				t.Errorf("got %s, temporary %v, %q; want fail, %v, %q", r.Result, r.Temporary, r.Reason, c.temporary, c.reason)
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*SealOptions)
		want   string
	}{
		{"an A-R field signed", func(o *SealOptions) { o.Sign.Fields = []string{"From", "authentication-results"} },
			"must not be signed"},
		{"a seal signed", func(o *SealOptions) { o.Sign.Oversign = []string{"ARC-Seal"} }, "must not be signed"},
		{"no domain", func(o *SealOptions) { o.Sign.Domain = "" }, "bad domain"},
		{"results with a field in them", func(o *SealOptions) { o.Results = "x; none\nX-Evil: yes" }, "does not continue the field"},
		{"results with an end of header in them", func(o *SealOptions) { o.Results = "x; none\n\n body" },
			"an empty line"},
		{"results with a CR", func(o *SealOptions) { o.Results = "x; none\r" }, "a control byte"},
		{"no results", func(o *SealOptions) { o.Results = "" }, "an empty line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(1)
			o.Chain = &Report{Result: None}
			c.change(&o)
			_, err := Seal(message.Bytes([]byte(letter)), o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
