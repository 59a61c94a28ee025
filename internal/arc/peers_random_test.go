package arc

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"pennypost/internal/dkim"
	"pennypost/internal/mailtest"
)

// randomLetter is a letter with white space, line ends and bytes where canonical forms differ. Left out is what dkimpy takes in
// another way than everybody: white space before a colon, which it refuses, and white space at the end of a last line without a
// line end, which its relaxed form keeps against RFC 6376 section 3.4.4. So is a CR, which no line between programs holds.
func randomLetter(r *rand.Rand) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	text := func(n int) string {
		var b strings.Builder
		for range r.IntN(n) {
			b.WriteString(pick("a", "B", "word", " ", "  ", "\t", ";", "=", "ü", "\"", "(", ")", ".", "-", "From "))
		}
		return b.String()
	}
	var b strings.Builder
	for range r.IntN(3) {
		fmt.Fprintf(&b, "%s:%s%s\n", pick("Subject", "X-Any", "comments", "List-Id"), pick("", " ", "\t "), strings.TrimSpace(text(12)))
	}
	fmt.Fprintf(&b, "%s: %s <a@example.org>\n", pick("From", "FROM", "from"), strings.TrimSpace(text(4)+"x"))
	fmt.Fprintf(&b, "To:%s%s\n%sb@example.net\n", pick("", " ", "  "), "c@example.net,", pick(" ", "\t", "    "))
	b.WriteString("\n")
	for range r.IntN(6) {
		b.WriteString(text(10) + pick("\n", "\n", "\n\n", " \n", "\t\n"))
	}
	return b.String() + pick("", "", "end", "\n\n\n", " \n\n")
}

// TestDkimpyRandom has random letters, sealed by us in every canonical form and by dkimpy, and judged by the other.
func TestDkimpyRandom(t *testing.T) {
	z := zone(t)
	keyFile, zoneFile := needDkimpy(t, z)
	const count = 60
	r := rand.New(rand.NewPCG(8617, 1))
	var ours, letters []string
	for i := range count {
		letter := randomLetter(r)
		o := options(1)
		o.Chain = &Report{Result: None}
		c := []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"}[i%4]
		o.Sign.Header, o.Sign.Body, _ = dkim.ParseCanon(c)
		ours = append(ours, withSet(t, letter, o))
		letters = append(letters, "Authentication-Results: mx.hop1.test; none\n"+letter)
	}
	verdicts := strings.Split(dkimpy(t, strings.Join(ours, "\x00"), "verify", zoneFile), "\n")
	for i, text := range ours {
		if !strings.HasPrefix(verdicts[i], "pass 1 ") {
			t.Errorf("sealed by us, dkimpy says %q:\n%q", verdicts[i], text)
		}
	}
	theirs := strings.Split(dkimpy(t, strings.Join(letters, "\x00"), "seal", hop(1), "rsa", keyFile, "mx."+hop(1)), "\x00")
	if len(theirs) != count {
		t.Fatalf("dkimpy sealed %d letters, not %d", len(theirs), count)
	}
	for _, text := range theirs {
		if r := verify(t, text, z); r.Result != Pass {
			t.Errorf("sealed by dkimpy, we say %s (%s):\n%q", r.Result, r.Reason, text)
		}
	}
}

// TestMailDKIM has chains of random letters judged by Mail::DKIM. It does not know Ed25519 in this version, and its simple form
// of a body whose last line has no line end is another one (RFC 6376 section 3.4.3 adds the line end), so neither is in it.
func TestMailDKIM(t *testing.T) {
	perl := mailtest.Peer(t, "perl")
	if err := exec.Command(perl, "-MMail::DKIM::ARC::Verifier", "-MNet::DNS", "-e1").Run(); err != nil {
		t.Skip("peer Mail::DKIM is not installed")
	}
	z := zone(t)
	r := rand.New(rand.NewPCG(8617, 2))
	var all []string
	for i := range 40 {
		text := strings.TrimSuffix(randomLetter(r), "\n") + "\n"
		o := options(1)
		o.Chain = &Report{Result: None}
		o.Sign.Header, o.Sign.Body, _ = dkim.ParseCanon([]string{"simple/simple", "relaxed/relaxed"}[i%2])
		text = withSet(t, text, o)
		switch i % 4 {
		case 1:
			text = sealed(t, text+"a footer\n", 2, z) // marked as failed
		case 2:
			text = sealed(t, text, 2, z)
		case 3:
			o := options(2)
			o.Chain = verify(t, text, z)
			text = withSet(t, text+"a footer\n", o)
		}
		all = append(all, text)
	}
	cmd := exec.Command(perl, "testdata/maildkim.pl", writeZone(t, z))
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(strings.Join(all, "\x00"), "\n", "\r\n"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", perl, err)
	}
	verdicts := strings.Split(string(out), "\n")
	for i, text := range all {
		r := verify(t, text, z)
		if word, _, _ := strings.Cut(verdicts[i], " "); word != string(r.Result) {
			t.Errorf("Mail::DKIM says %q, we %s (%s):\n%q", verdicts[i], r.Result, r.Reason, text)
		}
	}
}
