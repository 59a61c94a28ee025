package serve

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const examples = "../../examples"

// TestUnits lets systemd check the example units, with the test binary in the place of the programs, which need not be
// installed.
func TestUnits(t *testing.T) {
	analyze := peer(t, "systemd-analyze")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	installed := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/(smtpd|popd|imapd|smtpsend)\b`)
	for dir, n := range map[string]int{"systemd": 8, "systemd/listen": 7} {
		units, err := filepath.Glob(filepath.Join(examples, dir, "*.*"))
		if err != nil || len(units) != n {
			t.Fatalf("%s: got %q, %v; want three servers' sockets and services, and the queue's", dir, units, err)
		}
		tmp := t.TempDir()
		var paths []string
		for _, unit := range units {
			text, err := os.ReadFile(unit)
			if err != nil {
				t.Fatal(err)
			}
			service := strings.HasSuffix(unit, ".service")
			if service != installed.Match(text) {
				t.Errorf("%s: a service, and only a service, has an ExecStart of ours", unit)
			}
			path := filepath.Join(tmp, filepath.Base(unit))
			if err := os.WriteFile(path, installed.ReplaceAll(text, []byte("ExecStart="+self)), 0o644); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		cmd := exec.Command(analyze, append([]string{"verify", "--recursive-errors=no", "--man=no"}, paths...)...)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+tmp+":")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", dir, err, out)
		}
	}
}

// TestStyles: a socket with Accept=yes goes with a template that takes the connection on its standard files, and one
// without with a service that says when it is ready.
func TestStyles(t *testing.T) {
	for _, c := range []struct {
		file string
		want []string
		not  string
	}{
		{"systemd/%.socket", []string{"Accept=yes"}, "FileDescriptorName"},
		{"systemd/%@.service", []string{"StandardInput=socket", "StandardOutput=socket", "StandardError=journal"}, "Type=notify"},
		{"systemd/listen/%.socket", []string{"FileDescriptorName="}, "Accept=yes"},
		{"systemd/listen/%.service", []string{"Type=notify", "KillMode=mixed"}, "StandardInput"},
		{"tcpserver/%/run", []string{"exec tcpserver ", "\t%"}, "sh -c"},
	} {
		for _, program := range []string{"smtpd", "popd", "imapd"} {
			file := strings.ReplaceAll(c.file, "%", program)
			text, err := os.ReadFile(filepath.Join(examples, file))
			if err != nil {
				t.Error(err)
				continue
			}
			for _, want := range c.want {
				if !strings.Contains(string(text), "\n"+strings.ReplaceAll(want, "%", program)) {
					t.Errorf("%s: %q is missing", file, want)
				}
			}
			if strings.Contains(string(text), c.not) {
				t.Errorf("%s: %q does not belong there", file, c.not)
			}
		}
	}
}

func TestInetdConf(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(examples, "inetd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 7 || f[1] != "stream" || f[2] != "tcp" || f[3] != "nowait" || filepath.Base(f[5]) != f[6] {
			t.Errorf("not a line of inetd.conf(5) for a stream: %q", line)
			continue
		}
		if len(f)-6 > 20 {
			t.Errorf("more arguments than inetd takes: %q", line)
		}
		seen[f[6]] = true
	}
	if len(seen) != 3 {
		t.Errorf("got lines for %v, want smtpd, popd and imapd", seen)
	}
}
