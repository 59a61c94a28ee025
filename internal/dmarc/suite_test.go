package dmarc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/message"
	"pennypost/internal/resolver"
)

// minCases is how many cases the suite has at least.
const minCases = 120

// The suite of testdata, whose README says what the words mean.
func TestSuite(t *testing.T) {
	cases := 0
	eachCase(t, func(file string, zone, c *node) {
		cases++
		t.Run(file+"/"+c.key, func(t *testing.T) { runCase(t, zoneText(zone), c) })
	})
	if cases < minCases {
		t.Errorf("%d cases, want %d", cases, minCases)
	}
}

// eachCase reads the suite.
func eachCase(t *testing.T, do func(file string, zone, c *node)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range strings.Split(string(text), "---\n")[1:] {
			root := readYAML(t, file, doc)
			for _, c := range root.get("tests").items {
				do(strings.TrimSuffix(filepath.Base(file), ".yml"), root.get("zonedata"), c)
			}
		}
	}
}

// The words that a test may have: a slip in one would compare nothing.
var words = strings.Fields(`spec why from header spf dkim mode result policy disposition org record-at asked
	other-result other-disposition`)

func runCase(t *testing.T, zone string, c *node) {
	for _, f := range c.items {
		if !slices.Contains(words, f.key) {
			t.Fatalf("unknown word %q", f.key)
		}
	}
	dns := &counted{Resolver: mailtest.Zone(t, zone)}
	r := Evaluate(context.Background(), caseFields(t, c), caseAuths(c), Options{Resolver: dns, Mode: Mode(c.text("mode"))})
	want := c.text("disposition")
	if want == "" {
		want = "none"
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q (%s: %s; reason: %s)", what, got, want, c.text("spec"), c.text("why"), r.Reason)
		}
	}
	check("result", string(r.Result), c.text("result"))
	check("disposition", string(r.Disposition), want)
	for what, got := range map[string]string{
		"policy": string(r.Policy), "org": r.OrgDomain, "record-at": r.PolicyDomain, "asked": strings.Join(dns.asked, " "),
	} {
		if w := c.get(what); w != nil {
			check(what, got, w.value)
		}
	}
	if r.Mode == Both && r.Other != nil {
		other := c.text("other-disposition")
		if other == "" {
			other = "none"
		}
		check("result of RFC 7489", string(r.Other.Result), c.text("other-result"))
		check("disposition of RFC 7489", string(r.Other.Disposition), other)
		if same := r.Result == r.Other.Result && r.Disposition == r.Other.Disposition; same != (r.Differ == "") {
			t.Errorf("got difference %q", r.Differ)
		}
	}
}

func caseFields(t *testing.T, c *node) []message.Field {
	text := "From: " + c.text("from") + "\n"
	if h := c.get("header"); h != nil {
		text = ""
		for _, line := range h.items {
			text += line.value + "\n"
		}
	}
	m := message.Bytes([]byte(text + "\nbody\n"))
	h, err := m.Header()
	if err != nil {
		t.Fatal(err)
	}
	return h.Fields
}

// caseAuths reads "DOMAIN RESULT, DOMAIN RESULT".
func caseAuths(c *node) []Auth {
	var out []Auth
	for _, method := range []string{"spf", "dkim"} {
		for item := range strings.SplitSeq(c.text(method), ",") {
			if domain, result, ok := strings.Cut(strings.TrimSpace(item), " "); ok {
				out = append(out, Auth{Method: method, Domain: domain, Pass: result == "pass", Temporary: result == "temperror"})
			}
		}
	}
	return out
}

// counted remembers what was asked.
type counted struct {
	Resolver
	asked []string
}

func (c *counted) TXT(ctx context.Context, name string) (resolver.Answer[string], error) {
	c.asked = append(c.asked, name)
	return c.Resolver.TXT(ctx, name)
}

// zoneText writes the zone of a document as a master file.
func zoneText(zone *node) string {
	var b strings.Builder
	for _, name := range zone.items {
		for _, item := range name.items {
			switch item.key {
			case "":
				fmt.Fprintf(&b, ";! %s %s.\n", strings.ToLower(item.value), name.key)
			case "TXT":
				fmt.Fprintf(&b, "%s. TXT %s\n", name.key, masterText(item.value))
			default:
				fmt.Fprintf(&b, "%s. %s %s\n", name.key, item.key, item.value)
			}
		}
	}
	return b.String()
}

// masterText cuts a text into strings of a master file, which are joined again.
func masterText(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(len(s), 20)
		b.WriteByte('"')
		for _, c := range []byte(s[:n]) {
			switch {
			case c == '"' || c == '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c < ' ' || c > '~':
				fmt.Fprintf(&b, "\\%03d", c)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteString("\" ")
		s = s[n:]
	}
	return b.String()
}

// node is a mapping, a list or a scalar of YAML; an item of a list has no key unless it is a mapping of one.
type node struct {
	key, value string
	items      []*node
}

func (n *node) get(key string) *node {
	for _, item := range n.items {
		if item.key == key {
			return item
		}
	}
	return nil
}

func (n *node) text(key string) string {
	if item := n.get(key); item != nil {
		return item.value
	}
	return ""
}

var isKey = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// readYAML reads the part of YAML that the suite is written in.
func readYAML(t *testing.T, file, doc string) *node {
	t.Helper()
	root := &node{}
	stack := []*node{root}
	depth := []int{-1}
	for i, line := range strings.Split(doc, "\n") {
		text := strings.TrimLeft(line, " ")
		if text == "" || text[0] == '#' {
			continue
		}
		indent := len(line) - len(text)
		item := &node{}
		text, isItem := strings.CutPrefix(text, "- ")
		if isItem {
			indent++ // items of a list may stand under their key without more indentation
		}
		for depth[len(depth)-1] >= indent {
			stack, depth = stack[:len(stack)-1], depth[:len(depth)-1]
		}
		key, value, ok := strings.Cut(text, ":")
		if !isItem && !ok {
			t.Fatalf("%s: line %d of a document: %q", file, i, line)
		}
		if !isItem || ok && isKey.MatchString(key) {
			item.key, item.value = key, scalar(t, strings.TrimSpace(value))
		} else {
			item.value = scalar(t, text)
		}
		parent := stack[len(stack)-1]
		parent.items = append(parent.items, item)
		stack, depth = append(stack, item), append(depth, indent)
	}
	return root
}

func scalar(t *testing.T, s string) string {
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	out, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("scalar %s: %v", s, err)
	}
	return out
}
