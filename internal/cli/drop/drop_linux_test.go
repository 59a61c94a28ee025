package drop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pennypost/internal/serve"
	"pennypost/internal/status"
)

// The test binary is also the process that gives up its rights: DROP says in which directory it tries what is left.
func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv("DROP"); ok {
		child(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(dir string) {
	d := &Options{runAs: "nobody", sandbox: true, serve: new(serve.Options)}
	say("need", d.Need(false, []string{dir + "/in", dir + "/missing"}, dir+"/certs/cert.pem", ""))
	say("confine", d.serve.Confine())
	say("write inside", os.WriteFile(dir+"/in/a", nil, 0o600))
	say("move inside", os.Rename(dir+"/in/a", dir+"/in/sub/a"))
	f, err := os.CreateTemp("", "")
	say("temporary file", err)
	_, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
	say("open it again", err)
	_, err = os.ReadFile(dir + "/certs/cert.pem")
	say("read certificate", err)
	say("write beside it", os.WriteFile(dir+"/certs/a", nil, 0o600))
	_, err = os.ReadFile(dir + "/out/secret")
	say("read outside", err)
	say("write outside", os.WriteFile(dir+"/out/a", nil, 0o600))
	say("run a program", exec.Command("/bin/true").Run())
	say("root again", syscall.Setuid(0))
	say("the same again", (&Options{runAs: "nobody"}).confine())
	err = (&Options{runAs: "daemon"}).confine()
	say("somebody else", err)
	fmt.Println("exit", status.ExitStatus(err))
}

func say(what string, err error) {
	var e syscall.Errno
	if errors.As(err, &e) {
		err = e
	}
	fmt.Printf("%s: %v\n", what, err)
}

func TestConfine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	if _, err := user.Lookup("nobody"); err != nil {
		t.Skip(err)
	}
	if _, _, e := syscall.Syscall(444, 0, 0, 1); e != 0 { // landlock_create_ruleset: which version
		t.Skipf("no Landlock: %v", e)
	}
	dir, err := os.MkdirTemp("", "drop")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"", "in", "in/sub", "certs", "out", "tmp"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil { // only the sandbox keeps the user out
			t.Fatal(err)
		}
	}
	for _, name := range []string{"certs/cert.pem", "out/secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "DROP="+dir, "TMPDIR="+dir+"/tmp")
	out, err := cmd.CombinedOutput()
	want := `need: <nil>
confine: <nil>
write inside: <nil>
move inside: <nil>
temporary file: <nil>
open it again: <nil>
read certificate: <nil>
write beside it: permission denied
read outside: permission denied
write outside: permission denied
run a program: permission denied
root again: operation not permitted
the same again: <nil>
somebody else: operation not permitted
exit 71
`
	if got := string(out); err != nil || got != want {
		t.Errorf("got %v\n%s", err, diff(got, want))
	}
}

// diff has the lines of got that are not those of want.
func diff(got, want string) string {
	var b strings.Builder
	w := strings.Split(want, "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(w) || line != w[i] {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

func TestIdentify(t *testing.T) {
	if _, err := user.Lookup("nobody"); err != nil {
		t.Skip(err)
	}
	u, _ := user.Lookup("nobody")
	for spec, want := range map[string]string{
		"nobody":         u.Uid + " " + u.Gid,
		u.Uid:            u.Uid + " " + u.Gid,
		"nobody:daemon":  u.Uid + " 1 [1]",
		"nobody:1":       u.Uid + " 1 [1]",
		"nobody:none":    "64",
		"no-such-user":   "64",
		"":               "64",
		"root":           "64",
		"0":              "64",
		"999999":         "64",
		"nobody:9999999": "64",
		"nobody:":        "64",
	} {
		id, err := identify(spec)
		got := fmt.Sprint(id.uid, id.gid, id.groups)
		if err != nil {
			got = fmt.Sprint(status.ExitStatus(err))
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s, want %s", spec, got, want)
		}
	}
}
