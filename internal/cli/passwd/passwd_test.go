package passwd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/cli"
	"pennypost/internal/postoffice"
	"pennypost/internal/postoffice/crypt"
	"pennypost/internal/status"
)

func newOffice(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "example.org", "alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func set(t *testing.T, dir, user, stdin string) error {
	t.Helper()
	cmd := Command(func() (*postoffice.Office, error) { return postoffice.Open(dir) })
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetArgs([]string{user})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cmd.Execute()
}

func TestPasswordFromStdin(t *testing.T) {
	dir := newOffice(t)
	if err := set(t, dir, "alice@example.org", "first\n"); err != nil {
		t.Fatal(err)
	}
	if err := set(t, dir, "alice@example.org", "sec ret\r\nignored\n"); err != nil {
		t.Fatal(err)
	}
	o, err := postoffice.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	o.Hashes = crypt.Hashes{}
	for password, want := range map[string]bool{"sec ret": true, "first": false, "sec ret\r": false, "": false} {
		box, err := o.Authenticate("alice@example.org", password)
		if (err == nil) != want {
			t.Errorf("password %q: got %v", password, err)
		}
		if err == nil {
			box.Close()
		}
	}
	info, err := os.Stat(filepath.Join(dir, "example.org", "passwd"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("passwd file: %v, %v", info, err)
	}
}

func TestRefused(t *testing.T) {
	dir := newOffice(t)
	for name, tt := range map[string]struct{ user, stdin string }{
		"empty":     {"alice@example.org", "\n"},
		"no input":  {"alice@example.org", ""},
		"too long":  {"alice@example.org", strings.Repeat("x", MaxSecret+1) + "\n"},
		"nobody":    {"nobody@example.org", "x\n"},
		"elsewhere": {"alice@example.com", "x\n"},
		"path":      {"../alice@example.org", "x\n"},
	} {
		if err := set(t, dir, tt.user, tt.stdin); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := set(t, dir, "alice@example.org", "\n"); !isUsage(err) {
		t.Errorf("empty password: got %v, want a usage error", err)
	}
}

func isUsage(err error) bool {
	var e *status.Error
	return errors.As(err, &e) && e.Exit == status.ExitStatus(cli.Usagef("x"))
}
