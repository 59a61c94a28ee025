package spf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/spf"
)

// peerCase is what testdata/pyspf.py reads.
type peerCase struct {
	IP     string `json:"ip"`
	Helo   string `json:"helo"`
	Sender string `json:"sender"`
	Record string `json:"record"`
}

// peerTerms are terms of records, for the zone of opinionZone, which testdata/pyspf.json repeats.
var peerTerms = strings.Fields(`all a:d1.example a:d2.example/30 a:d1.example//64 a:d2.example/24//48 a:gone.example
	mx:d3.example mx:d3.example//112 include:pass.example include:soft.example include:deep.example include:none.example
	include:two.example include:broken.example exists:%{l}.gone.example exists:%{d2r}.gone.example ip4:192.0.2.9
	ip4:192.0.2.0/24 ip6:2001:db8::9 ip6:2001:db8::/32 ptr:d1.example ptr:d2.example redirect=pass.example
	redirect=deep.example redirect=none.example a mx ptr other=%{d} exp=%{d} a:%{p}.example a:%{ir}.%{v}.d.example
	a:%{d1r}.%{h} exists:%{S}.x.%{o}`)

// randomRecord makes a record of such terms. Some are broken.
func randomRecord(random *rand.Rand) string {
	pieces := strings.Split(": / % { } . - 0 3 = a r _ + ~ \x7f \t é 2 // %{ d e", " ")
	record := "v=spf1"
	for range 1 + random.IntN(4) {
		term := peerTerms[random.IntN(len(peerTerms))]
		if !strings.Contains(term, "=") {
			term = []string{"", "+", "-", "~", "?"}[random.IntN(5)] + term
		}
		if random.IntN(4) == 0 {
			i := random.IntN(len(term) + 1)
			j := min(len(term), i+random.IntN(3))
			term = term[:i] + pieces[random.IntN(len(pieces))] + term[j:]
		}
		record += " " + term
	}
	return record
}

// whyPyspfDiffers explains a difference, "" if that cannot be.
func whyPyspfDiffers(record string, ours *spf.Report, theirs string) string {
	broken := ours.Result == spf.PermError
	switch {
	case broken && strings.Contains(ours.Reason, "byte 0x"):
		return "pyspf accepts bytes that no macro-string has (RFC 7208 section 7.1)"
	case broken && (strings.Contains(ours.Reason, `a macro has no "}"`) || strings.Contains(ours.Reason, "is not a delimiter")):
		return "pyspf accepts macros that are not closed, or have something else than delimiters in them (section 7.1)"
	case theirs == "permerror" && strings.Count(record, " other=") > 1:
		return "pyspf wants unknown modifiers only once (section 6)"
	}
	return ""
}

// TestPyspf compares 4,000 records, many of which have errors, with pyspf, which passes the whole suite as well.
func TestPyspf(t *testing.T) {
	if exec.Command("/usr/bin/python3", "-c", "import spf").Run() != nil {
		t.Skip("python3-spf is not installed")
	}
	random := rand.New(rand.NewPCG(7, 209))
	clients := strings.Fields("192.0.2.1 192.0.2.2 192.0.2.9 203.0.113.1 2001:db8::1 2001:db8::9 2001:db8:1::1")
	var in bytes.Buffer
	zone := strings.ReplaceAll(opinionZone, "*.list.example. A 127.0.0.2\n", "")
	cases := make([]peerCase, 4000)
	for i := range cases {
		c := peerCase{clients[random.IntN(len(clients))], "h.example", fmt.Sprintf("user@x%d.example", i), randomRecord(random)}
		zone += fmt.Sprintf("x%d.example. TXT %s\n", i, quoteTXT(c.Record))
		line, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
		cases[i] = c
	}
	theirs := pyspf(t, &in)
	if len(theirs) != len(cases) {
		t.Fatalf("%d answers to %d questions", len(theirs), len(cases))
	}
	dns, results, known := mailtest.Zone(t, zone), map[spf.Result]int{}, map[string]int{}
	for i, c := range cases {
		q := spf.Query{IP: netip.MustParseAddr(c.IP), Helo: c.Helo, Sender: c.Sender}
		ours := spf.Evaluate(context.Background(), q, spf.Options{Resolver: dns, MaxVoids: 1000})
		results[ours.Result]++
		if string(ours.Result) == theirs[i] {
			continue
		}
		why := whyPyspfDiffers(c.Record, ours, theirs[i])
		if known[why]++; why == "" {
			t.Errorf("%s %q: ours is %s (%s), theirs %s", c.IP, c.Record, ours.Result, ours.Reason, theirs[i])
		}
	}
	if len(results) < 6 || len(known) < 3 {
		t.Errorf("results were %v, differences %v", results, known)
	}
}

func pyspf(t *testing.T, in *bytes.Buffer) []string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/pyspf.py", "testdata/pyspf.json")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pyspf: %v\n%s", err, stderr.Bytes())
	}
	return strings.Fields(string(out))
}
