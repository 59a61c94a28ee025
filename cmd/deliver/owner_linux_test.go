package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Root becomes the owner: the files are his, commands run as he, and what he may not write to is not written to.
func TestRootBecomesOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody")
	}
	office, box := newOffice(t)
	program, env := comparing(t, office)
	for dir := office; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(box), 0o755); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(box), "bob")
	for path, uid := range map[string]int{box: 12345, other: 12346} {
		os.Mkdir(path, 0o700)
		if err := os.WriteFile(filepath.Join(path, ".qmail"), []byte("./Maildir/\n|id >who\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, filepath.Join(path, ".qmail")} {
			if err := os.Chown(p, uid, 23456); err != nil {
				t.Fatal(err)
			}
		}
	}
	run := func(to ...string) (string, error) {
		cmd := exec.Command(program, append([]string{"--office", office, "-f", ""}, to...)...)
		cmd.Env, cmd.Stdin = env, strings.NewReader("Subject: x\n\n")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		return stderr.String(), err
	}
	if said, err := run("alice@example.org"); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	files, _ := filepath.Glob(filepath.Join(box, "Maildir/new/*"))
	if len(files) != 1 {
		t.Fatalf("files %q", files)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 || info.Mode().Perm() != 0o600 {
		t.Errorf("%d:%d %v", st.Uid, st.Gid, info.Mode())
	}
	who, err := os.ReadFile(filepath.Join(box, "who"))
	if err != nil || !strings.Contains(string(who), "uid=12345") || !strings.Contains(string(who), "groups=23456\n") {
		t.Errorf("the command ran as %q, %v", who, err)
	}
	if said, err := run("alice@example.org", "bob@example.org"); err == nil || !strings.Contains(said, "different owners") {
		t.Errorf("two owners: %v: %s", err, said)
	}
	if said, err := run("nobody@example.org"); err == nil || !strings.HasPrefix(said, "550 5.1.1 ") {
		t.Errorf("nobody: %v: %s", err, said)
	}
}
