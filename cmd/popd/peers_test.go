package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// newOffice makes an office in which alice@example.org has the password "pa ss" and some messages in new.
func newOffice(t *testing.T, messages ...string) (dir, box string) {
	t.Helper()
	bin := mailtest.Build(t, "popd")
	dir = t.TempDir()
	box = filepath.Join(dir, "example.org", "alice", "Maildir")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(box, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range messages {
		name := filepath.Join(box, "new", fmt.Sprintf("17000000%02d.M1P1.h", i))
		if err := os.WriteFile(name, []byte(m), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(bin, "popd"), "--office", dir, "passwd", "alice@example.org")
	cmd.Stdin = strings.NewReader("pa ss\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("passwd: %v\n%s", err, out)
	}
	return dir, box
}

// start runs popd for the office on a port of its own and returns the address.
func start(t *testing.T, office string, flags ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// As systemd passes a socket: descriptor 3, named in the environment of the process itself.
	args := append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, filepath.Join(mailtest.Build(t, "popd"), "popd"), "--office", office}, flags...)
	cmd := exec.Command("sh", args...)
	cmd.ExtraFiles = []*os.File{f}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("popd: %v", err)
		}
		l.Close()
		if t.Failed() {
			t.Logf("popd said:\n%s", &log)
		}
	})
	return l.Addr().String()
}

func mails(t *testing.T, box, sub string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(box, sub, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

var big = "Subject: big\n\n" + strings.Repeat("a line of an attachment, which is base64 as a rule\n", 20<<20/50)

func TestCurl(t *testing.T) {
	curl := mailtest.Peer(t, "curl")
	office, box := newOffice(t, "Subject: one\n\n.dot\ncaf\xe9\n", big, "no header", "")
	addr := start(t, office)
	tlsAddr := start(t, office, "--tls-wrap")
	run := func(args ...string) []byte {
		t.Helper()
		out, err := exec.Command(curl, append([]string{"-sS", "-k", "-u", "alice@example.org:pa ss"}, args...)...).Output()
		if err != nil {
			t.Fatalf("curl %q: %v", args, err)
		}
		return out
	}
	for _, how := range [][]string{{"pop3://" + addr}, {"--ssl-reqd", "pop3://" + addr}, {"pop3s://" + tlsAddr}} {
		list := run(append(how[:len(how)-1:len(how)-1], how[len(how)-1]+"/")...)
		if want := fmt.Sprintf("1 28\r\n2 %d\r\n3 9\r\n4 0\r\n", len(big)+strings.Count(big, "\n")); string(list) != want {
			t.Errorf("%q: LIST gave %q, want %q", how, list, want)
		}
		for i, want := range []string{"Subject: one\r\n\r\n.dot\r\ncaf\xe9\r\n", strings.ReplaceAll(big, "\n", "\r\n"), "no header\r\n"} {
			got := run(append(how[:len(how)-1:len(how)-1], fmt.Sprintf("%s/%d", how[len(how)-1], i+1))...)
			if string(got) != want {
				t.Errorf("%q: message %d: got %d bytes that are not the %d wanted", how, i+1, len(got), len(want))
			}
		}
	}
	run("-X", "DELE", "-I", "pop3://"+addr+"/3")
	if got := mails(t, box, "new") + mails(t, box, "cur"); got != 3 {
		t.Errorf("after DELE there are %d messages, want 3", got)
	}
}

func TestMpop(t *testing.T) {
	mpop := mailtest.Peer(t, "mpop")
	office, box := newOffice(t, "Subject: one\n\n.dot\n", "Subject: two\n\n", big)
	host, port, _ := net.SplitHostPort(start(t, office))
	home := t.TempDir()
	to := filepath.Join(home, "got")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(to, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(mpop, append([]string{"--file=/dev/null", "--host=" + host, "--port=" + port, "--user=alice@example.org",
			"--passwordeval=echo pa ss", "--auth=user", "--tls=on", "--tls-certcheck=off", "--received-header=off",
			"--uidls-file=" + filepath.Join(home, "uidls"), "--delivery=maildir," + to}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+home)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("mpop %q: %v\n%s", args, err, out)
		}
	}
	run("--keep=on")
	run("--keep=on") // by the unique-ids nothing is new
	if got := mails(t, to, "new"); got != 3 {
		t.Fatalf("mpop got %d messages, want 3", got)
	}
	if got := mails(t, box, "cur"); got != 3 {
		t.Errorf("after QUIT %d messages are in cur, want 3", got)
	}
	found, _ := filepath.Glob(filepath.Join(to, "new", "*"))
	var sizes []int
	for _, f := range found {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == len(big) && string(b) != big {
			t.Error("the large message changed on the way")
		}
		sizes = append(sizes, len(b))
	}
	if got := sizes[0] + sizes[1] + sizes[2]; got != len(big)+19+14 {
		t.Errorf("messages of %v bytes, want %d, 19 and 14", sizes, len(big))
	}
	run("--keep=off")
	if got := mails(t, box, "cur") + mails(t, box, "new"); got != 0 {
		t.Errorf("with keep=off %d messages are left", got)
	}
}

// A client that marks messages and then disappears in the middle of one has removed nothing.
func TestBrokenConnection(t *testing.T) {
	office, box := newOffice(t, "Subject: one\n\n", big)
	addr := start(t, office)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	mailtest.Dialog(t, c, `
<- +OK pennypost POP3 server ready
-> USER alice@example.org
<- +OK send PASS
-> PASS pa ss
<~ ^\+OK 2 messages
-> DELE 1
<- +OK message 1 deleted
-> RETR 2`)
	c.Close()
	// The next session sees both.
	c, err = net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mailtest.Dialog(t, c, `
<- +OK pennypost POP3 server ready
-> USER alice@example.org
<- +OK send PASS
-> PASS pa ss
<~ ^\+OK 2 messages`)
	if got := mails(t, box, "new"); got != 2 {
		t.Errorf("%d messages in new, want 2", got)
	}
}

// A client on standard input that is not local may not read a mailbox without a login, nor send its password in the
// clear, whatever the mailbox.
func TestNotLocal(t *testing.T) {
	office, box := newOffice(t, "Subject: one\n\n")
	program := filepath.Join(mailtest.Build(t, "popd"), "popd")
	run := func(flags ...string) string {
		t.Helper()
		cmd := exec.Command(program, flags...)
		cmd.Env = append(os.Environ(), "PROTO=TCP", "TCPREMOTEIP=192.0.2.1", "TCPREMOTEPORT=1", "TCPLOCALIP=192.0.2.2", "TCPLOCALPORT=110")
		cmd.Stdin = strings.NewReader("CAPA\r\nUSER alice@example.org\r\nSTAT\r\nQUIT\r\n")
		out, _ := cmd.Output()
		return string(out)
	}
	if out := run("--maildir", box); strings.Contains(out, "+OK 1 ") {
		t.Errorf("--maildir: got %q", out)
	}
	if out := run("--office", office); !strings.Contains(out, "STLS\r\n") || strings.Contains(out, "USER\r\n") || !strings.Contains(out, "-ERR give STLS") {
		t.Errorf("--office: got %q", out)
	}
	if out := run("--office", office, "--allow-plaintext"); !strings.Contains(out, "USER\r\n") || !strings.Contains(out, "+OK send PASS") {
		t.Errorf("--allow-plaintext: got %q", out)
	}
}

func TestTranscriptHasNoPassword(t *testing.T) {
	office, _ := newOffice(t)
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "popd"), "popd"), "-v", "--office", office)
	cmd.Stdin = strings.NewReader("USER alice@example.org\r\nPASS pa ss\r\nQUIT\r\n")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(stderr); s.Scan(); {
		lines = append(lines, s.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	want := []string{"<- +OK pennypost POP3 server ready", "-> USER alice@example.org", "<- +OK send PASS", "-> PASS ***",
		"<- +OK 0 messages (0 octets)", "-> QUIT", "<- +OK bye",
		`level=INFO msg=session user=alice@example.org peer="" retrieved=0 removed=0 quit=true`}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// Sessions end when the server is told to stop, and the server ends with them.
func TestStops(t *testing.T) {
	office, _ := newOffice(t)
	addr := start(t, office, "--drain", "0s")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	mailtest.Dialog(t, c, "<- +OK pennypost POP3 server ready")
}

const wrongAndRight = `
<- +OK pennypost POP3 server ready
-> USER alice@example.org
<- +OK send PASS
-> PASS wrong
<- -ERR [AUTH] wrong name or password
-> USER alice@example.org
<- +OK send PASS
-> PASS pa ss
<~ ^\+OK 1 messages
-> QUIT
<- +OK bye
<- EOF`

// Inetd makes the connection standard error too. What is said there must not reach the client.
func TestInetd(t *testing.T) {
	office, _ := newOffice(t, "Subject: one\n\n")
	client, f := mailtest.TCPFile(t)
	defer client.Close()
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "popd"), "popd"), "-v", "--office", office)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	mailtest.Dialog(t, client, wrongAndRight)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// spawn starts a program that starts popd, and returns the first line it says, which comes when it listens.
func spawn(t *testing.T, ready func(*exec.Cmd) (*bufio.Reader, error), program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	out, err := ready(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return strings.TrimSpace(line)
}

func stdout(cmd *exec.Cmd) (*bufio.Reader, error) {
	p, err := cmd.StdoutPipe()
	return bufio.NewReader(p), err
}

func stderr(cmd *exec.Cmd) (*bufio.Reader, error) {
	p, err := cmd.StderrPipe()
	return bufio.NewReader(p), err
}

func TestTcpserver(t *testing.T) {
	tcpserver := mailtest.Peer(t, "tcpserver")
	office, _ := newOffice(t, "Subject: one\n\n")
	port := spawn(t, stdout, tcpserver, "-1", "-HRl0", "127.0.0.1", "0", filepath.Join(mailtest.Build(t, "popd"), "popd"), "--office", office)
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mailtest.Dialog(t, c, wrongAndRight)
}

func TestSystemdSocket(t *testing.T) {
	activate := mailtest.Peer(t, "systemd-socket-activate")
	office, _ := newOffice(t, "Subject: one\n\n")
	for _, how := range [][]string{{"--inetd", "-a"}, {"-a"}, nil} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			args := append(how[:len(how):len(how)], "-l", path, filepath.Join(mailtest.Build(t, "popd"), "popd"), "--office", office)
			spawn(t, stderr, activate, args...)
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			mailtest.Dialog(t, c, wrongAndRight)
		})
	}
}
