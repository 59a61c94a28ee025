package spf_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/resolver"
	"pennypost/internal/spf"
)

// TestGolden runs the cases in testdata: NAME.zone is the DNS, NAME.why says what the case is about, and each line of
// NAME.want is a question with its answer:
//
//	IP SENDER HELO RESULT LOOK-UPS VOIDS [EXPLANATION]
func TestGolden(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.want")
	if len(files) < 18 {
		t.Fatalf("only %d cases", len(files))
	}
	for _, file := range files {
		stem := strings.TrimSuffix(file, ".want")
		t.Run(filepath.Base(stem), func(t *testing.T) {
			dns, err := resolver.New(resolver.Options{ZoneFile: stem + ".zone"})
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(stem + ".why"); err != nil {
				t.Error(err)
			}
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSuffix(line, "\n")
				words := strings.SplitN(line, " ", 4)
				if len(words) != 4 {
					t.Fatalf("line %q", line)
				}
				r := spf.Evaluate(context.Background(), goldenQuery(t, words), spf.Options{Resolver: dns})
				got := strings.TrimSuffix(fmt.Sprintf("%s %d %d %s", r.Result, r.Lookups, r.Voids, r.Explanation), " ")
				if got != words[3] {
					t.Errorf("%s:\n got %s\nwant %s\n(%s)", strings.Join(words[:3], " "), got, words[3], r.Reason)
				}
			}
		})
	}
}

func goldenQuery(t *testing.T, words []string) spf.Query {
	t.Helper()
	ip, err := netip.ParseAddr(words[0])
	if err != nil {
		t.Fatal(err)
	}
	q := spf.Query{IP: ip, Sender: words[1], Helo: words[2]}
	if q.Sender == "<>" {
		q.Sender = ""
	}
	return q
}
