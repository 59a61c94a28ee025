// Package mailtest is for tests only: real programs, real peers and dialogs in plain text.
package mailtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Peer is the path of a program of others, or the test is skipped with the reason.
func Peer(t testing.TB, program string) string {
	t.Helper()
	if path, ok := find(program); ok {
		return path
	}
	t.Skipf("peer %s is not installed", program)
	return ""
}

// find looks in PATH and where system programs are.
func find(program string) (string, bool) {
	if path, err := exec.LookPath(program); err == nil {
		return path, true
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, true
		}
	}
	return "", false
}

var built struct {
	sync.Mutex
	dir  string
	done map[string]bool
}

// Main is for a TestMain of a package that calls Build or Scripts: it runs the tests and removes what was built.
func Main(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// Build builds programs of cmd/, each once in a test process, and returns the directory they are in. See Main.
func Build(t testing.TB, programs ...string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "programs-*")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o711); err != nil { // for peers that run them and are not root
			t.Fatal(err)
		}
		built.dir, built.done = dir, map[string]bool{}
	}
	args := []string{"build", "-o", built.dir + string(filepath.Separator)}
	todo := 0
	for _, p := range programs {
		if !built.done[p] {
			args = append(args, "pennypost/cmd/"+p)
			built.done[p] = true
			todo++
		}
	}
	if todo > 0 {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return built.dir
}

// Scripts runs every dir/*.txtar as a testscript with the named programs first in PATH. Beside the usual commands there
// are `cmpbytes A B` (files equal byte for byte), `count N GLOB` (so many files match) and the conditions [have:PROGRAM] and
// [root].
func Scripts(t *testing.T, dir string, programs ...string) {
	t.Helper()
	ScriptsWith(t, dir, func(*testscript.Env) error { return nil }, programs...)
}

// ScriptsWith is Scripts with more to set up for each script.
func ScriptsWith(t *testing.T, dir string, more func(*testscript.Env) error, programs ...string) {
	t.Helper()
	bin := Build(t, programs...)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: false,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH")+":/usr/sbin:/sbin")
			env.Setenv("TMPDIR", env.WorkDir)
			return more(env)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			name, ok := strings.CutPrefix(cond, "have:")
			if !ok {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			_, found := find(name)
			return found, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cmpbytes": cmpBytes,
			"count":    count,
		},
	})
}

func cmpBytes(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: cmpbytes A B")
	}
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s (%d bytes) and %s (%d bytes): equal is %v", args[0], len(a), args[1], len(b), !neg)
	}
}

func count(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: count N GLOB")
	}
	found, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if fmt.Sprint(len(found)) != args[0] {
		ts.Fatalf("%s: got %d files, want %s: %q", args[1], len(found), args[0], found)
	}
}
