package arc

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pennypost/internal/dkim"
	"pennypost/internal/message"
)

// manySets are n sets that look whole.
func manySets(n int, extra string) string {
	var b strings.Builder
	for i := n; i > 0; i-- {
		cv := "pass"
		if i == 1 {
			cv = "none"
		}
		fmt.Fprintf(&b, "ARC-Seal: i=%d; a=rsa-sha256; cv=%s; d=%s; s=rsa; b=AAAA\n", i, cv, hop(i))
		fmt.Fprintf(&b, "ARC-Message-Signature: i=%d; a=rsa-sha256; d=%s; s=rsa; h=from%s; bh=AAAA; b=AAAA\n", i, hop(i), extra)
		fmt.Fprintf(&b, "ARC-Authentication-Results: i=%d; x; none\n", i)
	}
	return b.String() + letter
}

// hostile are messages made to cost much.
func hostile() map[string]string {
	long := strings.Repeat("x", 900)
	names := strings.Repeat(":received", 999)
	return map[string]string{
		"1000 sets":                  manySets(1000, ""),
		"3000 seals of one instance": strings.Repeat("ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.b; s=c; b=AAAA\n", 3000) + letter,
		"seals of no instance":       strings.Repeat("ARC-Seal: x\n", 9000) + letter,
		"50 sets over a long header": strings.Repeat("Received: "+long+"\n", 600) + manySets(50, names),
		"50 sets with long fields":   manySets(50, strings.Repeat(":"+long, 20)),
		"h= of one long name":        manySets(50, ":"+strings.Repeat("y", 19000)),
		"4 MB of blank lines":        manySets(50, "") + strings.Repeat("\n", 4<<20),
		"nested comments":            "ARC-Authentication-Results: " + strings.Repeat("(", 30000) + "\n" + letter,
	}
}

// TestHostile counts what was hashed; BenchmarkHostile tells the time.
func TestHostile(t *testing.T) {
	z := zone(t)
	for name, text := range hostile() {
		asked := 0
		lookup := fromMap(z)
		o := dkim.VerifyOptions{LookupTXT: func(ctx context.Context, name string) ([]string, error) {
			asked++
			return lookup(ctx, name)
		}}
		r, err := Verify(context.Background(), message.Bytes([]byte(text)), o)
		if err != nil || r.Result != Fail {
			t.Errorf("%s: got %+v, %v, want fail", name, r, err)
			continue
		}
		covered := 0
		for _, s := range r.Sets {
			covered += len(s.Message.Canonical)
		}
		if covered > MaxCovered+2*message.MaxHeader || asked > 2*MaxSets || len(r.Sets) > MaxSets {
			t.Errorf("%s: %d bytes of header hashed, %d keys asked for", name, covered, asked)
		}
	}
}

// BenchmarkHostile is to stay under 50 ms for each.
func BenchmarkHostile(b *testing.B) {
	z := zone(b)
	for name, text := range hostile() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				verify(b, text, z)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	z := zone(b)
	for _, hops := range []int{1, 3, MaxSets} {
		text := letter + strings.Repeat("a line of a body of some ten thousand bytes, as letters have them\n", 150)
		for i := 1; i <= hops; i++ {
			text = sealed(b, text, i, z)
		}
		b.Run(fmt.Sprint(hops), func(b *testing.B) {
			for b.Loop() {
				verify(b, text, z)
			}
		})
	}
}

// FuzzVerify takes anything as a message. Line ends must not matter, a chain must be whole to pass, and a set that we put
// on top of what passes passes too.
func FuzzVerify(f *testing.F) {
	z := zone(f)
	f.Add("")
	f.Add(letter)
	f.Add(manySets(2, ""))
	for i, text := 1, letter; i <= 2; i++ {
		text = sealed(f, text, i, z)
		f.Add(text)
		f.Add(text + "x")
		f.Add(strings.Replace(text, "\n ", "\n\t ", 1))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 32<<10 {
			return
		}
		for strings.Contains(text, "\r\n") { // a CR before a line end would be one, or content, by what stands after it
			text = strings.ReplaceAll(text, "\r\n", "\n")
		}
		o := dkim.VerifyOptions{LookupTXT: fromMap(z)}
		r, err := Verify(context.Background(), message.Bytes([]byte(text)), o)
		if err != nil {
			return // a header over the limits
		}
		crlf, err := Verify(context.Background(), message.Bytes([]byte(strings.ReplaceAll(text, "\n", "\r\n"))), o)
		if err != nil || crlf.Result != r.Result || crlf.OldestPass != r.OldestPass ||
			unquoted(crlf.Reason) != unquoted(r.Reason) {
			t.Errorf("with CRLF: got %+v, %v; want %+v", crlf, err, r)
		}
		if r.Result == Pass && (r.Instances == 0 || len(r.Sets) != r.Instances || r.Reason != "") {
			t.Errorf("a chain that passes is not whole: %+v", r)
		}
		m := message.Bytes([]byte(text))
		if h, err := m.Header(); err != nil || len(h.Fields) == 0 && !h.Blank {
			return // with a field on top another part of it is header
		}
		sealOptions := options(1)
		sealOptions.Sign.Selector, sealOptions.Sign.Key, sealOptions.Chain = "ed", keys().ed, r // the faster one
		set, err := Seal(m, sealOptions)
		if err != nil {
			return
		}
		after, err := Verify(context.Background(), dkim.Prepend(m, set), o)
		if err != nil {
			return
		}
		want := Pass
		if r.Result == Fail {
			want = Fail
		}
		if after.Result != want || after.Closed != (want == Fail) || after.Instances != r.Instances+1 {
			t.Errorf("sealed on %+v: got %+v", r, after)
		}
	})
}

// unquoted is a reason up to what it quotes, which may be folded.
func unquoted(reason string) string {
	text, _, _ := strings.Cut(reason, `"`)
	return text
}

// FuzzSplitResults writes back what it read.
func FuzzSplitResults(f *testing.F) {
	for _, s := range []string{"i=1; x; none", " (a (b) \\) c) i = 07 (x) ;x", "i=51;x", "i=;", "", "(", "i=1 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, rest, err := splitResults(s)
		if err != nil {
			return
		}
		again, same, err := splitResults(fmt.Sprintf("i=%d;%s", n, rest))
		if err != nil || again != n || same != rest || n < 1 || n > MaxSets {
			t.Errorf("%q: got %d %q, then %d %q, %v", s, n, rest, again, same, err)
		}
	})
}
