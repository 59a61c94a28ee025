package mailtest

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	metaLine   = regexp.MustCompile(`^# (TYPE|UNIT|HELP) smtpd_[a-z_]+ \S.*$`)
	sampleLine = regexp.MustCompile(`^smtpd_[a-z_]+(\{[a-z]+="[^"\\]*"\})? [0-9.e+-]+$`)
)

// OpenMetrics holds text with so many families against the format of OpenMetrics 1.0, by its grammar and, where it is installed, by
// the parser of Prometheus.
func OpenMetrics(t testing.TB, text string, families int) {
	t.Helper()
	body, ok := strings.CutSuffix(text, "# EOF\n")
	if !ok {
		t.Errorf("no # EOF at the end")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n") {
		if !metaLine.MatchString(line) && !sampleLine.MatchString(line) {
			t.Errorf("not of the format: %q", line)
		}
	}
	const parse = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as f\n" +
		"print(len(list(f(sys.stdin.read()))))"
	if exec.Command("/usr/bin/python3", "-c", "import prometheus_client.openmetrics.parser").Run() != nil {
		t.Log("python3-prometheus-client is not installed: only the grammar was checked")
		return
	}
	cmd := exec.Command("/usr/bin/python3", "-c", parse)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(families) {
		t.Errorf("the parser of Prometheus says: %v\n%s", err, out)
	}
}
