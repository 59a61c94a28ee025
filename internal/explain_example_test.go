package internal_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

var blankEnds = regexp.MustCompile(`(?m) +$`)

// The worked example of mailauth(1) is what its command says.
func TestExplainExample(t *testing.T) {
	page, err := os.ReadFile("../man/mailauth.1")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n$ examples/explain.sh ")
	shown, _, ok := strings.Cut(rest, ".Ed\n")
	filter, want, _ := strings.Cut(shown, "78\n")
	if !ok || !strings.Contains(want, "verdict") {
		t.Fatal("the example is not in the page")
	}
	want = strings.NewReplacer("\\e", "\\", "\n\\&", "\n").Replace(want)
	t.Setenv("PATH", mailtest.Build(t, programs...)+":"+os.Getenv("PATH"))
	cmd := exec.Command("sh", "-c", "examples/explain.sh "+filter+"78")
	cmd.Dir = ".."
	got, err := cmd.Output()
	got = blankEnds.ReplaceAll(got, nil) // fold leaves them
	if err != nil || string(got) != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
	}
}
