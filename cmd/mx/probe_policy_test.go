package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// A probe verifies what it finds by the MTA-STS policy of the domain, and by DANE, which comes first.
func TestProbePolicies(t *testing.T) {
	program := filepath.Join(mailtest.Build(t, "mx"), "mx")
	dns, roots, port := probeWorld(t)
	cache := t.TempDir()
	for domain, policy := range map[string]string{
		"good.example": "enforce\nmx: good.example", "old.example": "enforce\nmx: *.example\nmx: old.example", "wrong.example": "enforce\nmx: wrong.example",
		"clear.example": "enforce\nmx: clear.example", "two.example": "enforce\nmx: good.example", "silent.example": "enforce\nmx: mx.silent.example",
		"away.example": "testing\nmx: mx.away.example", "safe.example": "enforce\nmx: mx.safe.example", "false.example": "enforce\nmx: false.example",
	} {
		text := "one 9999999999\nversion: STSv1\nmax_age: 86400\nmode: " + policy + "\n"
		if err := os.WriteFile(filepath.Join(cache, domain), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const names = "the MTA-STS policy names it\n"
	for _, tt := range []struct {
		domain string
		want   []string
		status int
	}{
		{"good.example", []string{" usable\n", "  demand  sts: " + names, "  chain   host good.example: verified\n", "  sts     enforce one: verified\n"}, 0},
		{"wrong.example", []string{"not usable: x509: certificate is valid for good.example, not wrong.example\n", "  demand  sts: " + names,
			"  sts     enforce one: x509: certificate is valid for good.example"}, 76},
		{"old.example", []string{"not usable: x509: certificate has expired", "  sts     enforce one: x509: certificate has expired"}, 76},
		{"clear.example", []string{"not usable: ", "  demand  sts: " + names, "  tls     none\n"}, 76},
		{"two.example", []string{"20 good.example 127.0.0.1", " usable\n", "  sts     enforce one: verified\n"}, 0},
		{"silent.example", []string{"mx: silent.example: policy leaves no host to send to\n"}, 76},
		{"away.example", []string{"not usable: ", "  demand  opportunistic: no DANE, since its addresses are not authenticated; the MTA-STS policy, only being tested, does not name it\n"}, 69},
		{"safe.example", []string{" usable\n", "  demand  dane: ", "  dane    1 TLSA: verified\n", "  sts     enforce one: the policy does not name the host\n"}, 0},
		{"false.example", []string{"not usable: DANE: none of 1 TLSA", "  demand  dane: ", "  dane    1 TLSA: DANE: none of 1 TLSA", "  sts     enforce one: x509: "}, 76},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			cmd := exec.Command(program, "--probe", "--resolver", dns, "--port", strconv.Itoa(port), "--sts-cache", cache, tt.domain)
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots)
			out, _ := cmd.CombinedOutput()
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.status {
				t.Errorf("exit %d, want %d\n%s", code, tt.status, out)
			}
		})
	}
}
