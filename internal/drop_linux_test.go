package internal_test

import (
	"bufio"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pennypost/internal/mailtest"
)

var listeningAt = regexp.MustCompile(`msg=listening addr=(\S+)`)

// Servers that are started by root and told so serve as somebody else, in all threads, and do their work.
func TestRunAs(t *testing.T) {
	nobody := unprivileged(t)
	bin := mailtest.Build(t, programs...)
	for name, session := range sessions {
		t.Run(name, func(t *testing.T) {
			office := newOffice(t, bin)
			chown(t, office, nobody)
			spool := nobodysDir(t, nobody)
			cmd, addr := startServer(t, spool, bin+"/"+name, "--office", office, "--limit-dir", spool, "--run-as", nobody.Username, "--sandbox")
			checkRights(t, cmd.Process.Pid, nobody.Uid)
			c := connect(t, addr)
			defer c.Close()
			mailtest.Dialog(t, c, session)
			checkStored(t, name, office)
		})
	}
}

// The greylist is kept by the user that smtpd has become, inside its sandbox too.
func TestRunAsGreylist(t *testing.T) {
	nobody := unprivileged(t)
	bin := mailtest.Build(t, "smtpd")
	office := t.TempDir()
	if err := os.MkdirAll(office+"/example.org/alice", 0o700); err != nil {
		t.Fatal(err)
	}
	chown(t, office, nobody)
	_, addr := startServer(t, nobodysDir(t, nobody), bin+"/smtpd", "--office", office, "--name", "mx.example.org",
		"--run-as", nobody.Username, "--sandbox", "--greylist", "1ms", "--xclient-from", "127.0.0.1")
	for _, answer := range []string{"451 4.7.1 ...", "250 2.1.5 Ok"} {
		c := connect(t, addr)
		mailtest.Dialog(t, c, "<- 220 ...\n-> XCLIENT ADDR=192.0.2.1\n<- 220 ...\n-> HELO c.example\n<- 250 ...\n"+
			"-> MAIL FROM:<a@b.example>\n<- 250 ...\n-> RCPT TO:<alice@example.org>\n<- "+answer+"\n")
		c.Close()
	}
	known, _ := filepath.Glob(office + "/greylist/*/*.ok")
	if len(known) != 1 {
		t.Fatalf("known: %q", known)
	}
	info, err := os.Stat(known[0])
	if err != nil || strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)) != nobody.Uid {
		t.Errorf("%s is not of %s: %v", known[0], nobody.Username, err)
	}
}

// What cannot be given up is not kept in silence.
func TestRunAsErrors(t *testing.T) {
	nobody := unprivileged(t)
	bin := mailtest.Build(t, programs...)
	office := newOffice(t, bin)
	for _, c := range []struct {
		args   []string
		status int
		said   string
	}{
		{[]string{"--run-as", "no-such-user"}, 64, `no user "no-such-user"`},
		{[]string{"--run-as", nobody.Username + ":no-such-group"}, 64, `no group "no-such-group"`},
		{[]string{"--run-as", "root"}, 64, "is root"},
		{[]string{"--sandbox", "--ask", "/bin/true"}, 64, "does not go with a program"},
		{[]string{"--sandbox", "--", "true"}, 64, "does not go with a program"},
	} {
		cmd := exec.Command(bin+"/smtpd", append([]string{"--name", "mx.example.org", "--office", office}, c.args...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(string(out), c.said) || strings.Contains(string(out), "220 ") {
			t.Errorf("%q: got %d, %s", c.args, got, out)
		}
	}
}

// unprivileged is a user to become; without root the test is skipped.
func unprivileged(t *testing.T) *user.User {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	return u
}

// nobodysDir is a directory of that user.
func nobodysDir(t *testing.T, u *user.User) string {
	t.Helper()
	dir := t.TempDir()
	chown(t, dir, u)
	return dir
}

// chown gives all below dir to u, and lets it get there.
func chown(t *testing.T, dir string, u *user.User) {
	t.Helper()
	run(t, nil, "chown", "-R", u.Uid+":"+u.Gid, dir)
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
}

// startServer starts a server on a free port, with spool for temporary files, until the test ends.
func startServer(t *testing.T, spool string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(args[0], append(args[1:], "--listen", "127.0.0.1:0")...)
	cmd.Env = append(os.Environ(), "TMPDIR="+spool)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		for line, err := "", error(nil); err == nil; line, err = lines.ReadString('\n') {
			t.Log(strings.TrimSpace(line))
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", args[0], err)
		}
	})
	for {
		line, err := lines.ReadString('\n')
		if m := listeningAt.FindStringSubmatch(line); m != nil {
			return cmd, m[1]
		}
		if err != nil {
			t.Fatalf("%s does not listen: %s %v", args[0], line, err)
		}
	}
}

// checkRights looks at every thread of a process.
func checkRights(t *testing.T, pid int, uid string) {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // that thread has ended
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
		all := strings.TrimSpace(strings.Repeat(uid+" ", 4))
		if fields["Uid"] != all || strings.Contains(" "+fields["Groups"]+" ", " 0 ") || strings.HasPrefix(fields["Gid"], "0") || fields["NoNewPrivs"] != "1" || fields["CapEff"] != "0000000000000000" || fields["CapPrm"] != "0000000000000000" {
			t.Errorf("%s: Uid %s, Gid %s, Groups %s, NoNewPrivs %s, CapEff %s", path, fields["Uid"], fields["Gid"], fields["Groups"], fields["NoNewPrivs"], fields["CapEff"])
		}
	}
}
