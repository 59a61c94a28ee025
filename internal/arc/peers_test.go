package arc

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dkimpy runs testdata/dkimpy.py with the message in CRLF, which is all that it takes.
func dkimpy(t *testing.T, text string, args ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/dkimpy.py"}, args...)...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dkimpy: %v\n%s", err, stderr.Bytes())
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// needDkimpy skips without dkimpy, and writes the keys of zone and the private one to files.
func needDkimpy(t *testing.T, z map[string]string) (keyFile, zoneFile string) {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import dkim, authres").Run(); err != nil {
		t.Skip("peer python3-dkim with python3-authres is not installed")
	}
	der, err := x509.MarshalPKCS8PrivateKey(keys().rsa)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), writeZone(t, z)
}

// writeZone writes keys as the scripts in testdata read them.
func writeZone(t *testing.T, z map[string]string) string {
	t.Helper()
	var lines bytes.Buffer
	for name, record := range z {
		fmt.Fprintf(&lines, "%s %s\n", name, record)
	}
	return writeFile(t, lines.Bytes())
}

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestDkimpyVerifies has chains of ours, good and bad, judged by dkimpy.
func TestDkimpyVerifies(t *testing.T) {
	z := zone(t)
	_, zoneFile := needDkimpy(t, z)
	one := sealed(t, letter, 1, z)
	two := sealed(t, one, 2, z)
	o := options(2)
	o.Chain = verify(t, one, z)
	footer := withSet(t, one+"-- \na footer\n", o)
	for _, c := range []struct{ name, text, want string }{
		{"no chain", letter, "none "},
		{"one hop", one, "pass 1 "},
		{"two hops", two, "pass 11 "},
		{"a footer between them", footer, "pass 10 "},
		{"a footer after them", two + "x\n", "fail 00 "},
		{"other results", replaceLast(two, "dmarc=pass", "dmarc=fail"), "fail 11 "},
		{"marked as failed", sealed(t, one+"x\n", 2, z), "closed 10 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := dkimpy(t, c.text, "verify", zoneFile); !strings.HasPrefix(got, c.want) {
				t.Errorf("dkimpy: got %q, want %q", got, c.want)
			}
			want, _, _ := strings.Cut(strings.Replace(c.want, "closed", "fail", 1), " ")
			if r := verify(t, c.text, z); string(r.Result) != want {
				t.Errorf("we: got %s (%s), want %s", r.Result, r.Reason, want)
			}
		})
	}
}

// TestDkimpySeals has chains of dkimpy, and of it and us in turn.
func TestDkimpySeals(t *testing.T) {
	z := zone(t)
	keyFile, zoneFile := needDkimpy(t, z)
	results := func(i int, arc string) string {
		return fmt.Sprintf("Authentication-Results: mx.%s; dmarc=pass header.from=example.org%s\n", hop(i), arc)
	}
	text := letter
	for i := 1; i <= 4; i++ {
		if i%2 == 0 {
			text = sealed(t, text, i, z)
		} else {
			arc := ""
			if i > 1 {
				arc = "; arc=pass"
			}
			text = dkimpy(t, results(i, arc)+text, "seal", hop(i), "rsa", keyFile, "mx."+hop(i))
		}
		if r := verify(t, text, z); r.Result != Pass || r.Instances != i || r.OldestPass != 0 {
			t.Fatalf("hop %d: got %s (%s), %d sets, oldest %d:\n%s", i, r.Result, r.Reason, r.Instances, r.OldestPass, text)
		}
		if got := dkimpy(t, text, "verify", zoneFile); !strings.HasPrefix(got, "pass "+strings.Repeat("1", i)) {
			t.Fatalf("hop %d: dkimpy: got %q", i, got)
		}
	}
	if r := verify(t, text+"x\n", z); r.Result != Fail {
		t.Errorf("with a footer: got %s", r.Result)
	}
}
