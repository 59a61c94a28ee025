package internal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// BenchmarkStart is what a process costs, user and system time, for the programs that run once for each message or session,
// beside a program that says hello (testdata/hello). Both take turns.
func BenchmarkStart(b *testing.B) {
	bin := mailtest.Build(b, "mx", "smtpsend", "smtpd", "deliver", "mailauth")
	hello := filepath.Join(b.TempDir(), "hello")
	build := exec.Command("go", "build", "-o", hello, "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	dir := b.TempDir()
	zone := filepath.Join(dir, "zone")
	if err := os.WriteFile(zone, []byte("_dmarc.example.org. TXT \"v=DMARC1; p=none\"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	letter := "From: alice@example.org\nSubject: hello\n\n" + strings.Repeat("a line of the letter\n", 500)
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"mx", "--zone", zone, "[192.0.2.1]"}},
		{letter, []string{"smtpsend", "--dump", "--server", "smtp://127.0.0.1", "bob@example.org"}},
		{"QUIT\r\n", []string{"smtpd", "--office", dir}},
		{letter, []string{"deliver", "--dry-run", "--to", "maildir:" + dir + "/Maildir", "bob@example.org"}},
		{letter, []string{"mailauth", "verify", "--zone", zone}},
	} {
		b.Run(c.args[0], func(b *testing.B) {
			ours, theirs := time.Duration(0), time.Duration(0)
			for b.Loop() {
				theirs += cost(b, "", hello)
				ours += cost(b, c.stdin, filepath.Join(bin, c.args[0]), c.args[1:]...)
			}
			b.ReportMetric(float64(ours)/float64(theirs), "x_hello")
			b.ReportMetric(float64(ours.Microseconds())/1000/float64(b.N), "cpu_ms")
		})
	}
}

// cost runs a program to its end.
func cost(b *testing.B, stdin, program string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
