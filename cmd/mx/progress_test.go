package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// A long list shows on a terminal how far it is, and nowhere else.
func TestProgress(t *testing.T) {
	script := mailtest.Peer(t, "script")
	dns := mailtest.DNS(t, "a.example. A 192.0.2.1\n;! timeout silent.example.")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "list"), []byte(strings.Repeat("a.example\n", 50)+"silent.example\n"+strings.Repeat("a.example\n", 50)), 0o600); err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(mailtest.Build(t, "mx"), "mx") + " -j 1 --timeout 400ms --resolver " + dns + " <list >out"
	for terminal, args := range map[bool][]string{true: {script, "-qec", command, "/dev/null"}, false: {"sh", "-c", command}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TERM=xterm", "SHELL=/bin/sh")
		shown, _ := cmd.CombinedOutput()
		out, err := os.ReadFile(filepath.Join(dir, "out"))
		if err != nil || strings.Count(string(out), "a.example\t0 a.example.\n") != 100 {
			t.Errorf("terminal %v: %v, %.200q", terminal, err, out)
		}
		if !strings.Contains(string(shown), "silent.example: ") || strings.Contains(string(shown), "domains/") != terminal {
			t.Errorf("terminal %v: shown %q", terminal, shown)
		}
		if code := cmd.ProcessState.ExitCode(); code != 75 {
			t.Errorf("terminal %v: exit %d", terminal, code)
		}
	}
}
