package spf_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"pennypost/internal/mailtest"
	"pennypost/internal/resolver"
	"pennypost/internal/spf"
)

// suite is a scenario of the SPF test suite: questions and the DNS they are asked of.
type suite struct {
	Description string               `yaml:"description"`
	Tests       map[string]suiteTest `yaml:"tests"`
	Zone        map[string][]any     `yaml:"zonedata"`
}

type suiteTest struct {
	Helo        string  `yaml:"helo"`
	Host        string  `yaml:"host"`
	MailFrom    string  `yaml:"mailfrom"`
	Result      oneOf   `yaml:"result"`
	Explanation *string `yaml:"explanation"`
}

// oneOf is a string, or a list of those that are all right.
type oneOf []string

func (o *oneOf) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*o = oneOf{n.Value}
		return nil
	}
	return n.Decode((*[]string)(o))
}

// TestRFC7208Suite runs the whole suite of RFC 7208; none is left out.
func TestRFC7208Suite(t *testing.T) {
	tests, explanations := runSuite(t, "rfc7208-tests.yml")
	if tests != 203 || explanations != 22 {
		t.Errorf("got %d tests with %d explanations, want 203 with 22", tests, explanations)
	}
}

// TestRFC4408Suite runs the older suite. RFC 7208 contradicts none of it: where the two differ, the suite allows both.
func TestRFC4408Suite(t *testing.T) {
	if tests, _ := runSuite(t, "rfc4408-tests.yml"); tests != 191 {
		t.Errorf("got %d tests, want 191", tests)
	}
}

// runSuite returns how many tests and explanations were compared.
func runSuite(t *testing.T, file string) (tests, explanations int) {
	for _, s := range readSuite(t, filepath.Join(mailtest.Corpus(t, "spf"), file)) {
		dns := suiteDNS(t, s)
		for name, test := range s.Tests {
			tests++
			got := spf.Evaluate(context.Background(), test.query(t), spf.Options{Resolver: dns})
			if !slices.Contains(test.Result, string(got.Result)) {
				t.Errorf("%s: %s: got %s (%s), want %s", s.Description, name, got.Result, got.Reason, test.Result)
			}
			if test.Explanation == nil {
				continue
			}
			explanations++
			want := *test.Explanation
			if want == "DEFAULT" {
				want = "" // ours to choose, and ours is none
			}
			if got.Explanation != want {
				t.Errorf("%s: %s: explanation: got %q, want %q", s.Description, name, got.Explanation, want)
			}
		}
	}
	return tests, explanations
}

func (s suiteTest) query(t *testing.T) spf.Query {
	ip, err := netip.ParseAddr(s.Host)
	if err != nil {
		t.Fatal(err)
	}
	return spf.Query{IP: ip, Helo: s.Helo, Sender: s.MailFrom}
}

func readSuite(t testing.TB, file string) (suites []suite) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for in := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var s suite
		err := in.Decode(&s)
		if errors.Is(err, io.EOF) {
			return suites
		}
		if err != nil {
			t.Fatal(err)
		}
		suites = append(suites, s)
	}
}

// suiteDNS makes a zone of the data of a scenario. An SPF record stands for a TXT record as well, unless there is a
// TXT entry; what a name has no record for times out if it says so.
func suiteDNS(t testing.TB, s suite) *resolver.Resolver {
	t.Helper()
	var zone strings.Builder
	for name, entries := range s.Zone {
		var lines []string
		var types []string
		slow := false
		hasTXT := slices.ContainsFunc(entries, func(e any) bool { m, ok := e.(map[string]any); return ok && m["TXT"] != nil })
		for _, entry := range entries {
			record, ok := entry.(map[string]any)
			if !ok {
				slow = slow || entry == "TIMEOUT"
				continue
			}
			for kind, value := range record {
				if kind == "TIMEOUT" || kind == "SERVFAIL" {
					slow = true
					continue
				}
				if kind == "SPF" && hasTXT || value == "NONE" {
					continue
				}
				if kind == "SPF" {
					kind = "TXT"
				}
				if data, ok := recordData(t, kind, value); ok {
					types = append(types, kind)
					lines = append(lines, fmt.Sprintf("%s %s %s", zoneName(name), kind, data))
				}
			}
		}
		if slow {
			rest := slices.DeleteFunc([]string{"A", "AAAA", "MX", "PTR", "TXT"}, func(k string) bool { return slices.Contains(types, k) })
			fmt.Fprintf(&zone, ";! timeout %s %s\n", zoneName(name), strings.Join(rest, " "))
		}
		fmt.Fprintln(&zone, strings.Join(lines, "\n"))
	}
	return mailtest.Zone(t, zone.String())
}

func recordData(t testing.TB, kind string, value any) (string, bool) {
	switch kind {
	case "TXT":
		var parts []string
		switch value := value.(type) {
		case []any:
			for _, v := range value {
				parts = append(parts, quoteTXT(fmt.Sprint(v)))
			}
		default:
			parts = append(parts, quoteTXT(fmt.Sprint(value)))
		}
		return strings.Join(parts, " "), len(parts) > 0
	case "MX":
		pair, ok := value.([]any)
		if !ok || len(pair) != 2 {
			t.Fatalf("MX %v", value)
		}
		return fmt.Sprint(pair[0], " ", zoneName(fmt.Sprint(pair[1]))), true
	case "PTR", "CNAME":
		return zoneName(fmt.Sprint(value)), true
	}
	return fmt.Sprint(value), true
}

// zoneName writes a name with its final dot, what is special in zone files escaped.
func zoneName(name string) string {
	return escapeZone(strings.TrimSuffix(name, "."), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") + "."
}

// quoteTXT writes character strings of at most 255 bytes.
func quoteTXT(s string) string {
	var parts []string
	for len(s) > 255 {
		parts = append(parts, s[:255])
		s = s[255:]
	}
	parts = append(parts, s)
	for i, p := range parts {
		parts[i] = `"` + escapeZone(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.: =/%{}~?+") + `"`
	}
	return strings.Join(parts, " ")
}

func escapeZone(s, plain string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(plain, s[i]) >= 0 {
			b.WriteByte(s[i])
			continue
		}
		b.WriteString(`\` + strconv.Itoa(1000 + int(s[i]))[1:])
	}
	return b.String()
}
