package internal_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// The example of a list: whoever trusts its seals takes what DMARC alone would refuse.
func TestListExample(t *testing.T) {
	t.Setenv("PATH", mailtest.Build(t, programs...)+":"+os.Getenv("PATH"))
	cmd := exec.Command("../examples/list.sh")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	at := string(out)
	for _, want := range []string{
		"a host that does not know the list:\n",
		"550 5.7.1 Email rejected per DMARC policy for author.example\n",
		"a host that trusts it:\n",
		"250 2.0.0 Ok",
		"in the mailbox:\nAuthentication-Results: mx.example.org;\n",
		"\tarc=pass header.oldest-pass=0 smtp.remote-ip=192.0.2.7;\n",
		"local policy: arc=pass as[1].d=list.example as[1].s=mail\"\n",
		"policy.dmarc=none\n",
	} {
		_, rest, ok := strings.Cut(at, want)
		if !ok {
			t.Fatalf("no %q at its place in\n%s", want, out)
		}
		at = rest
	}
}
