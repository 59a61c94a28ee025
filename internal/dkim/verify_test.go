package dkim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"pennypost/internal/message"
)

// resign makes a signature by hand: any tags, with a true bh= and b=.
func resign(t testing.TB, text, tags string) string {
	t.Helper()
	o := signer("ed")
	head, body, _ := strings.Cut(text, "\n\n")
	s, _ := parseSignature([]byte("DKIM-Signature: " + strings.Replace(tags, "BH", "AA==", 1) + " b=AA=="))
	hash, err := HashBody(message.Bytes([]byte(body)), 0, s.form())
	if err != nil {
		t.Fatal(err)
	}
	tags = strings.Replace(tags, "BH", base64Of(hash[0].Sum[:]), 1)
	m := message.Bytes([]byte(head + "\n"))
	header, err := m.Header()
	if err != nil {
		t.Fatal(err)
	}
	s.raw, s.value = []byte("DKIM-Signature: "+tags+" b="), place{}
	sig, err := SignBlock(o.Key, s.block(IndexFields(header.Fields)))
	if err != nil {
		t.Fatal(err)
	}
	return "DKIM-Signature: " + tags + " b=" + base64Of(sig) + "\n" + text
}

const base = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=ed; h=from:to; bh=BH;"

func TestVerdicts(t *testing.T) {
	z := testZone(t)
	with := func(old, new string) string { return strings.Replace(base, old, new, 1) }
	for _, c := range []struct{ name, tags, want string }{
		{"plain", base, "pass"},
		{"domain in i= in another case", base + " i=a@EXAMPLE.org;", "pass"},
		{"i= in quoted-printable", base + " i=J=2EX@sub.example=2Eorg;", "pass"},
		{"i= elsewhere", base + " i=a@example.com;", `permerror the domain of i="a@example.com" is not under d="example.org"`},
		{"i= with a suffix only", base + " i=a@notexample.org;", `permerror the domain of i="a@notexample.org" is not under d="example.org"`},
		{"i= without at sign", base + " i=x.example.org;", `permerror the domain of i="x.example.org" is not under d="example.org"`},
		{"b= inside another tag", base + " z=From:a|b=20x|Subject:b=3Dy;", "pass"},
		{"unknown tag", base + " zz=1;", "pass"},
		{"blanks", with("h=from:to;", "h = from :\n to ;"), "pass"},
		{"simple", with("relaxed/relaxed", "simple"), "pass"},
		{"capitals in c=", with("relaxed/relaxed", "Relaxed/RELAXED"), "pass"},
		{"version", with("v=1", "v=2"), `permerror unknown version v="2"`},
		{"no selector", with("s=ed;", ""), "permerror no s= tag"},
		{"from not signed", with("h=from:to", "h=to:subject"), "permerror from is not in h="},
		{"twice", base + " d=example.org;", "permerror tag d= twice"},
		{"no tag", base + " junk;", `permerror bad tag "junk"`},
		{"canon", with("relaxed/relaxed", "relaxed/loose"), `permerror unknown canonicalisation c="relaxed/loose"`},
		{"bad domain", with("d=example.org", "d=exam ple"), `permerror bad domain d="exam ple"`},
		{"sha1", with("ed25519-sha256", "rsa-sha1"), "policy rsa-sha1 is no longer accepted"},
		{"algorithm", with("ed25519-sha256", "rot13"), `neutral unknown algorithm "rot13"`},
		{"query", base + " q=dns/foo;", "permerror no known query method in q="},
		{"queries", base + " q=dns/foo:dns/txt;", "pass"},
		{"expired", base + " t=100; x=200;", "policy expired"},
		{"expires before it starts", base + " t=200; x=200;", "permerror x= is not after t="},
		{"not expired", base + " x=999999999999;", "pass"},
		{"bad time", base + " t=yesterday;", "permerror bad number in t="},
		{"absurd l=", base + " l=" + strings.Repeat("9", 76) + ";", "fail the body is shorter than l="},
		{"other key", with("s=ed", "s=rsa"), "permerror the key is rsa, the signature ed25519"},
		{"no key", with("s=ed", "s=nix"), "permerror no key at nix._domainkey.example.org"},
		{"many names", with("from:to", "from"+strings.Repeat(":x", MaxNames)), "permerror more than 1000 names in h="},
	} {
		got := one(t, resign(t, letter, c.tags), z.options())
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLength(t *testing.T) {
	z := testZone(t)
	text := "From: a@example.org\nTo: b\n\n12345\n" // seven bytes
	for _, c := range []struct {
		l      int
		suffix string
		want   string
	}{
		{7, "", "pass"},
		{7, "\n\n\n", "pass"},
		{7, "more\n", "policy l= leaves 6 bytes unsigned"},
		{5, "", "policy l= leaves 2 bytes unsigned"},
		{8, "", "fail the body is shorter than l="},
		{0, "", "policy l= leaves 7 bytes unsigned"},
	} {
		all := resign(t, text, base+fmt.Sprintf(" l=%d;", c.l)) + c.suffix
		if got := one(t, all, z.options()); got != c.want {
			t.Errorf("l=%d and %q more: got %q, want %q", c.l, c.suffix, got, c.want)
		}
		o := z.options()
		o.Partial = true
		want := strings.Replace(c.want, "policy", "pass", 1)
		if got := one(t, all, o); got != want {
			t.Errorf("l=%d and %q more, let through: got %q, want %q", c.l, c.suffix, got, want)
		}
		for _, o := range []VerifyOptions{o, z.options()} {
			if r := verify(t, all, o)[0]; r.Counts() != (c.want == "pass") || r.Length != int64(c.l) {
				t.Errorf("l=%d and %q more: counts %v, l= %d", c.l, c.suffix, r.Counts(), r.Length)
			}
		}
	}
}

func TestKeyRecords(t *testing.T) {
	record := testZone(t)[Query("ed", "example.org")][0]
	p := record[strings.Index(record, "p="):]
	rsaRecord := testZone(t)[Query("rsa", "example.org")][0]
	name := "ed._domainkey.example.org"
	all := resign(t, letter, base)
	strict := resign(t, letter, base+" i=a@sub.example.org;")
	broken := strings.Replace(all, "Hello", "Hullo", 1)
	for _, c := range []struct {
		name, text string
		records    []string
		want       string
	}{
		{"no v=", all, []string{"k=ed25519; " + p}, "pass"},
		{"k= in capitals", all, []string{"v=DKIM1; k=ED25519; " + p}, "pass"},
		{"white space in p=", all, []string{"k=ed25519; p= " + p[2:20] + " \t\n " + p[20:]}, "pass"},
		{"v= not first", all, []string{"k=ed25519; v=DKIM1; " + p}, "permerror " + name + ": key record does not start with v=DKIM1"},
		{"revoked", all, []string{"v=DKIM1; k=ed25519; p="}, "permerror " + name + ": the key is revoked"},
		{"escaped semicolons", all, []string{`v=DKIM1\; k=ed25519\; ` + p}, "permerror " + name + `: key record has "\;" where ";" is meant`},
		{"with others", all, []string{"v=spf1 -all", rsaRecord, record, "junk"}, "pass"},
		{"only others", all, []string{"v=spf1 -all"}, "permerror " + name + ": key record does not start with v=DKIM1"},
		{"no p=", all, []string{"v=DKIM1; k=ed25519"}, "permerror " + name + ": key record has no p="},
		{"hash", all, []string{record + "; h=sha1"}, "permerror the key does not allow sha256"},
		{"hashes", all, []string{record + "; h=sha1:sha256"}, "pass"},
		{"service", all, []string{record + "; s=fax"}, "permerror the key is not for email"},
		{"services", all, []string{record + "; s=fax:email"}, "pass"},
		{"strict, equal", all, []string{record + "; t=s"}, "pass"},
		{"strict, below", strict, []string{record + "; t=y:s"}, "permerror the key wants i= to have the domain of d="},
		{"not strict", strict, []string{record}, "pass"},
		{"test, good", all, []string{record + "; t=y"}, "pass"},
		{"test, bad", broken, []string{record + "; t=y"}, "neutral the body hash does not match"},
		{"bad", broken, []string{record}, "fail the body hash does not match"},
		{"type", all, []string{"k=x25519; " + p}, "permerror " + name + `: unknown key type k="x25519"`},
		{"short", all, []string{"k=ed25519; p=AAAA"}, "permerror " + name + ": ed25519 key has 3 bytes, not 32"},
		{"no rsa", all, []string{"p=AAAA"}, "permerror " + name + ": p= holds no rsa key"},
		{"trouble", all, []string{"SERVFAIL"}, "temperror fetching the key at " + name + ": server failure"},
		{"too many", all, strings.Split(strings.Repeat("x ", maxRecords), " "), "permerror more than 10 records at " + name},
		{"too long", all, []string{record + "; n=" + strings.Repeat("x", maxRecord)}, "permerror " + name + ": key record longer than 8192 bytes"},
	} {
		got := one(t, c.text, zone{name: c.records}.options())
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestTimes holds t= and x= against a clock that may be five minutes wrong.
func TestTimes(t *testing.T) {
	z := testZone(t)
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		tags string
		skew time.Duration
		want string
	}{
		{"t=1799999999; x=1800000001;", 0, "pass"},
		{"t=1799990000; x=1799999800;", 0, "pass"},
		{"t=1799990000; x=1799999699;", 0, "policy expired"},
		{"t=1799990000; x=1799999800;", time.Second, "policy expired"},
		{"t=1800000300;", 0, "pass"},
		{"t=1800000301;", 0, "policy signed in the future"},
		{"t=1800000301;", time.Hour, "pass"},
		{"t=999999999999;", 0, "policy signed in the future"},
		{"t=0; x=0;", 0, "permerror x= is not after t="},
		{"x=0;", 0, "policy expired"},
	} {
		o := z.options()
		o.Now, o.Skew = now, c.skew
		if got := one(t, resign(t, letter, base+" "+c.tags), o); got != c.want {
			t.Errorf("%s with a skew of %v: got %q, want %q", c.tags, c.skew, got, c.want)
		}
	}
}

// TestWhichRecord looks at which of several records at a name is taken, and whose fault is told when none can be.
func TestWhichRecord(t *testing.T) {
	record := testZone(t)[Query("ed", "example.org")][0]
	other := testZone(t)[Query("rsa", "example.org")][0]
	name := "ed._domainkey.example.org"
	all := resign(t, letter, base)
	for _, c := range []struct {
		name    string
		records []string
		used    int
		want    string
	}{
		{"one", []string{record}, 1, "pass"},
		{"SPF first", []string{"v=spf1 -all", record}, 2, "pass"},
		{"the other kind first", []string{other, record}, 2, "pass"},
		{"the other kind last", []string{record, other}, 1, "pass"},
		{"only the other kind", []string{"v=spf1 -all", other, other}, 2, "permerror the key is rsa, the signature ed25519"},
		{"the pasted one is told", []string{"v=spf1 -all", `v=DKIM1\; k=ed25519\; p=AAAA`, "p=x"}, 0,
			"permerror " + name + `: key record has "\;" where ";" is meant`},
		{"the revoked one is told", []string{"p=x", "p="}, 0, "permerror " + name + ": the key is revoked"},
	} {
		r := verify(t, all, zone{name: c.records}.options())[0]
		if got := strings.TrimSpace(string(r.Verdict) + " " + r.Reason); got != c.want || r.Record != c.used || r.Records != len(c.records) {
			t.Errorf("%s: got %q with record %d of %d, want %q with %d", c.name, got, r.Record, r.Records, c.want, c.used)
		}
	}
}

// TestMinimumBits is about the option; rsa.VerifyPKCS1v15 has a lower bound of its own.
func TestMinimumBits(t *testing.T) {
	text := signed(t, letter, signer("rsa"))
	o := testZone(t).options()
	o.MinBits = 2049
	if got := one(t, text, o); got != "policy rsa key of 2048 bits" {
		t.Errorf("got %q", got)
	}
	o.MinBits = 512
	if got := one(t, text, o); got != "pass" {
		t.Errorf("got %q", got)
	}
}

// TestKeyCache sees that keys are shared between messages and that the cache does not grow without end.
func TestKeyCache(t *testing.T) {
	o := testZone(t).options()
	o.Keys = new(KeyCache)
	text := resign(t, letter, base)
	for range 2 {
		if got := one(t, text, o); got != "pass" || len(o.Keys.keys) != 1 {
			t.Errorf("got %q with %d keys", got, len(o.Keys.keys))
		}
	}
	record := testZone(t)[Query("ed", "example.org")][0]
	for i := range maxCached + 5 {
		if _, err := o.Keys.parse(fmt.Sprintf("%s; n=%d", record, i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(o.Keys.keys); n > maxCached {
		t.Errorf("%d keys", n)
	}
	if _, err := o.Keys.parse("junk"); err == nil || o.Keys.keys["junk"] != nil {
		t.Error("junk is a key")
	}
}

func TestWeakKey(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 768)
	if err != nil {
		t.Skip("this Go makes no weak keys: ", err)
	}
	record, err := Record(weak.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(signed(t, letter, signer("rsa")), "s=rsa", "s=weak", 1)
	z := zone{"weak._domainkey.example.org": {record}}
	if got := one(t, text, z.options()); got != "policy rsa key of 768 bits" {
		t.Errorf("got %q", got)
	}
	o := signer("rsa")
	o.Key = weak
	if _, err := Sign(message.Bytes(nil), o); err == nil {
		t.Error("signed with 768 bits")
	}
}

func TestManySignatures(t *testing.T) {
	z := testZone(t)
	text := letter
	for range 25 {
		text = resign(t, letter, base)[:strings.Index(resign(t, letter, base), letter)] + text
	}
	lookups := 0
	o := z.options()
	inner := o.LookupTXT
	o.LookupTXT = func(ctx context.Context, name string) ([]string, error) {
		lookups++
		return inner(ctx, name)
	}
	results := verify(t, text, o)
	if len(results) != 25 || lookups > MaxSignatures {
		t.Fatalf("%d results after %d lookups", len(results), lookups)
	}
	for i, r := range results {
		want := Pass
		if i >= MaxSignatures {
			want = Neutral
		}
		if r.Verdict != want {
			t.Errorf("signature %d: got %s %s, want %s", i+1, r.Verdict, r.Reason, want)
		}
	}
}

func TestResultTellsWhatWasSeen(t *testing.T) {
	z := testZone(t)
	all := strings.Replace(signed(t, letter, signer("rsa")), "Hello", "Hullo", 1)
	r := verify(t, all, z.options())[0]
	if r.Domain != "example.org" || r.Selector != "rsa" || r.Algorithm != "rsa-sha256" || len(r.B) != 8 || r.Bits != 2048 || r.Canon != "relaxed/relaxed" {
		t.Errorf("got %+v", r)
	}
	if r.BodyOK || !r.HeaderOK || r.GotBody == r.WantBody {
		t.Errorf("body %v, header %v: want the body alone to be wrong", r.BodyOK, r.HeaderOK)
	}
	if !strings.Contains(string(r.Canonical), "subject:two blanks\r\n") {
		t.Errorf("canonical header: %q", r.Canonical)
	}
}

func TestTimeout(t *testing.T) {
	o := VerifyOptions{Timeout: time.Nanosecond, LookupTXT: func(ctx context.Context, _ string) ([]string, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	if got := one(t, resign(t, letter, base), o); !strings.HasPrefix(got, "temperror ") {
		t.Errorf("got %q", got)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := VerifyOptions{LookupTXT: func(ctx context.Context, _ string) ([]string, error) {
		cancel()
		return nil, ctx.Err()
	}}
	m := message.Bytes([]byte(resign(t, letter, base)))
	if r, err := Verify(ctx, m, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", r, err)
	}
}

// failing is a message whose body cannot be read.
type failing struct{ io.ReaderAt }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off > 4096 {
		return 0, errors.New("disk on fire")
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestReadError(t *testing.T) {
	all := resign(t, letter, base) + strings.Repeat("x", 1<<20)
	before := runtime.NumGoroutine()
	m := message.New(failing{strings.NewReader(all)}, int64(len(all)))
	if _, err := Verify(t.Context(), m, testZone(t).options()); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("Verify: got %v", err)
	}
	if _, err := Sign(m, signer("ed")); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("Sign: got %v", err)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines more", after-before)
	}
}

// TestLargeBody feeds what makes careless canonicalisers quadratic, and sees
// that memory does not grow with it.
func TestLargeBody(t *testing.T) {
	z := testZone(t)
	head := "From: a@example.org\n\n"
	for name, unit := range map[string]string{"blank lines": "\n", "blanks": " ", "text": "some words in a line\n", "CR": "\r"} {
		body := strings.Repeat(unit, 5<<20/len(unit)) + "end\n"
		o := signer("ed")
		o.Body = Simple
		m := message.New(strings.NewReader(head+body), int64(len(head)+len(body)))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		field, err := Sign(m, o)
		if err != nil {
			t.Fatal(err)
		}
		results, err := Verify(t.Context(), Prepend(m, field), z.options())
		if err != nil || len(results) != 1 || results[0].Verdict != Pass {
			t.Errorf("%s: got %v, %v", name, results, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// TestManyNames is the case of many fields and many names in h=, which must
// not cost their product.
func TestManyNames(t *testing.T) {
	text := strings.Repeat("X: y\n", 9000) + letter
	z := testZone(t)
	tags := strings.Replace(base, "from:to", "from"+strings.Repeat(":\n x", MaxNames-1), 1)
	if got := one(t, resign(t, text, tags), z.options()); got != "pass" {
		t.Errorf("got %q", got)
	}
}
