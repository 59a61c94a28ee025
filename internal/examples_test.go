package internal_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// The example of a forged message: a host of the domain may send in its name, another is refused.
func TestForgedExample(t *testing.T) {
	t.Setenv("PATH", mailtest.Build(t, programs...)+":"+os.Getenv("PATH"))
	cmd := exec.Command("../examples/forged.sh")
	out, err := cmd.Output()
	want := []string{
		"from 192.0.2.1:", "K\talice@example.org\tpipe\t250 2.0.0 Ok: queued as *",
		"from 203.0.113.66:", "D\talice@example.org\tpipe\t550 5.7.1 Email rejected per DMARC policy for example.com",
		"in the mailbox:", "Authentication-Results: mx.example.org;", "*", "*", "*", "\tdmarc=pass header.from=example.com", "",
	}
	got := strings.Split(string(out), "\n")
	for i, w := range want {
		prefix, _, any := strings.Cut(w, "*")
		if i >= len(got) || got[i] != w && !(any && strings.HasPrefix(got[i], prefix)) {
			t.Fatalf("%v: got\n%s\nwant line %d to be %q", err, out, i+1, w)
		}
	}
}
