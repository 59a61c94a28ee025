package mailtest

import (
	"os"
	"path/filepath"
	"testing"

	"pennypost/internal/resolver"
)

// Corpus is the directory of conformance data of that name, which lies beside the project. Without it the test is skipped with
// the reason.
func Corpus(t testing.TB, name string) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		c := filepath.Join(dir, "..", "shared", "corpora", name)
		if _, err := os.Stat(c); err == nil {
			return c
		}
	}
	t.Skipf("no ../shared/corpora/%s beside the project", name)
	return ""
}

// Zone is a resolver that has its answers from the text of a zone file, as with --zone.
func Zone(t testing.TB, text string) *resolver.Resolver {
	t.Helper()
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := resolver.New(resolver.Options{ZoneFile: file})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r
}
