package dmarc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// peerCase is a question for another implementation.
type peerCase struct {
	Zone map[string][]peerRecord `json:"zone"`
	From string                  `json:"from"`
	SPF  []string                `json:"spf"`
	DKIM []string                `json:"dkim"`
}

type peerRecord struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// disagreements are the cases of the suite in which mailauth 7.1.0 of Node says something else, and why ours is right.
var disagreements = map[string]string{
	"alignment/dkim-temporary": "it is told of what passes only, not of trouble",
	"policy/existence-unknown": "it asks for the name, though a record below it shows that it exists",
	"record/blank-first":       "it takes blanks before v=, which the ABNF of section 4.8 has not",
	"record/bad-p":             `it says none; "permerror" is for improperly formatted records (section 9.2)`,
	"record/bad-p-pass":        "the same",
	"record/bad-p-bad-rua":     "the same",
	"record/bad-sp":            "the same",
	"record/control":           "the same",
	"suffix/bad-np":            "the same",
	"record/twice":             "the last of two tags wins there; a record with two of one is malformed (RFC 6376 section 3.2)",
	"record/twice-rua":         "the same",
	"record/twice-aspf":        "the same",
}

// The cases of the suite, asked of the mailauth module of Node. Its From fields are read by another program, so those of ours
// that are special are left out.
func TestSuitePeer(t *testing.T) {
	ask := nodePeer(t)
	var names []string
	var cases []peerCase
	var wants []string
	eachCase(t, func(file string, zone, c *node) {
		mode := c.text("mode")
		if file == "from" || mode == "7489" || c.get("header") != nil {
			return
		}
		p := peerCase{Zone: map[string][]peerRecord{}, From: c.text("from")}
		for _, name := range zone.items {
			for _, item := range name.items {
				r := peerRecord{item.key, item.value}
				if item.key == "" {
					r = peerRecord{Type: item.value}
				}
				p.Zone[name.key] = append(p.Zone[name.key], r)
			}
		}
		for _, a := range caseAuths(c) {
			if a.Pass {
				p.add(a)
			}
		}
		want := c.text("disposition")
		if want == "" {
			want = "none"
		}
		names, cases, wants = append(names, file+"/"+c.key), append(cases, p), append(wants, c.text("result")+" "+want)
	})
	for i, got := range ask(cases) {
		if agreed(got, wants[i]) == (disagreements[names[i]] != "") {
			t.Errorf("%s: it says %q, we %q; known: %q", names[i], got, wants[i], disagreements[names[i]])
		}
	}
}

func (p *peerCase) add(a Auth) {
	if a.Method == "spf" {
		p.SPF = append(p.SPF, a.Domain)
	} else {
		p.DKIM = append(p.DKIM, a.Domain)
	}
}

// agreed compares results, and dispositions where they mean something.
func agreed(got, want string) bool {
	result, _, _ := strings.Cut(want, " ")
	return got == want || result != "fail" && strings.HasPrefix(got, result+" ")
}

// Random trees of records, evaluated by both.
func TestRandomPeer(t *testing.T) {
	ask := nodePeer(t)
	random := rand.New(rand.NewPCG(9989, 1))
	var cases []peerCase
	for range 1000 {
		cases = append(cases, randomCase(random))
	}
	for i, got := range ask(cases) {
		r := cases[i].ours(t)
		if want := fmt.Sprintf("%s %s", r.Result, r.Disposition); !agreed(got, want) {
			text, _ := json.Marshal(cases[i])
			t.Errorf("it says %q, we %q (%s): %s", got, want, r.Reason, text)
		}
	}
}

func randomCase(random *rand.Rand) peerCase {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	name := func() string {
		labels := []string{pick("top", "top", "other")}
		for range random.IntN(9) {
			labels = append(labels, pick("a", "b"))
		}
		slices.Reverse(labels)
		return strings.Join(labels, ".")
	}
	// Names that have something to do with each other: one, and ends of it with other labels before them.
	from := name()
	near := func() string {
		labels := strings.Split(from, ".")
		labels = labels[random.IntN(len(labels)):]
		for range random.IntN(3) {
			labels = append([]string{pick("a", "b", "c")}, labels...)
		}
		return strings.Join(labels, ".")
	}
	c := peerCase{Zone: map[string][]peerRecord{}, From: "x@" + from}
	for range random.IntN(6) {
		text := "v=DMARC1" + pick("; p=none", "; p=reject", "; p=quarantine", "; rua=mailto:x@y", "") +
			pick("", "", "; sp=none", "; sp=quarantine", "; sp=reject") + pick("", "", "; np=none", "; np=reject") +
			pick("", "", "", "; psd=y", "; psd=n", "; psd=u") + pick("", "", "; t=y") +
			pick("", "", "; adkim=s", "; aspf=s", "; adkim=s; aspf=s")
		at, r := "_dmarc."+near(), peerRecord{"TXT", text}
		if !slices.Contains(c.Zone[at], r) { // two that are the same are one
			c.Zone[at] = append(c.Zone[at], r)
		}
	}
	for range random.IntN(2) {
		c.Zone[near()] = []peerRecord{{"A", "192.0.2.1"}}
	}
	if random.IntN(8) == 0 {
		c.Zone["_dmarc."+near()] = []peerRecord{{Type: "SERVFAIL"}}
	}
	for range random.IntN(3) {
		c.add(Auth{Method: pick("spf", "dkim"), Domain: pick(near(), near(), from, name())})
	}
	return c
}

func (p *peerCase) ours(t *testing.T) *Report {
	t.Helper()
	zone := &node{}
	for name, records := range p.Zone {
		n := &node{key: name}
		for _, r := range records {
			item := &node{key: r.Type, value: r.Text}
			if r.Type == "SERVFAIL" {
				item = &node{value: r.Type}
			}
			n.items = append(n.items, item)
		}
		zone.items = append(zone.items, n)
	}
	var auths []Auth
	for _, d := range p.SPF {
		auths = append(auths, Auth{Method: "spf", Domain: d, Pass: true})
	}
	for _, d := range p.DKIM {
		auths = append(auths, Auth{Method: "dkim", Domain: d, Pass: true})
	}
	from := strings.TrimPrefix(p.From, "x@")
	return EvaluateDomain(context.Background(), from, auths, Options{Resolver: mailtest.Zone(t, zoneText(zone))})
}

// nodePeer asks the mailauth module of Node, which .ci/run puts into bin/ci/npm.
func nodePeer(t *testing.T) func([]peerCase) []string {
	t.Helper()
	program := mailtest.Peer(t, "node")
	dir, err := filepath.Abs("../../bin/ci/npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if given := os.Getenv("NODE_PATH"); given != "" {
		dir = given
	}
	if _, err := os.Stat(filepath.Join(dir, "mailauth")); err != nil {
		t.Skip("peer mailauth of Node is neither in NODE_PATH nor in bin/ci/npm, where .ci/run puts it")
	}
	load := exec.CommandContext(t.Context(), program, "-e", "require('mailauth/lib/dmarc')")
	load.Env = append(os.Environ(), "NODE_PATH="+dir)
	if out, err := load.CombinedOutput(); err != nil {
		t.Skipf("peer mailauth does not run under this Node: %.300s", out)
	}
	return func(cases []peerCase) []string {
		t.Helper()
		in, err := json.Marshal(cases)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, "testdata/peers/mailauth.js")
		cmd.Env = append(os.Environ(), "NODE_PATH="+dir)
		cmd.Stdin = bytes.NewReader(in)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if err != nil || len(answers) != len(cases) {
			t.Fatalf("%d answers, %v\n%s", len(answers), err, &stderr)
		}
		return answers
	}
}
