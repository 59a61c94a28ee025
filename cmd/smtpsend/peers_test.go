package main

import (
	"bytes"
	"context"
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

// messages are those that must go the whole way unchanged.
func messages() map[string]string {
	return map[string]string{
		"nothing at all":  "",
		"no header":       "just text\nand more\n",
		"8-bit header":    "Subject: caf\xe9 \xff\n\nbody\n",
		"dots":            "Subject: x\n\n.\n..\n.x\n",
		"long lines":      "Subject: x\n\n" + strings.Repeat("x", 900) + "\n",
		"From_ line":      "Subject: x\n\nFrom here\n",
		"20 MB, 8-bit":    "Subject: big\n\n" + strings.Repeat("a line of an \xe4ttachment, coded somehow and rather long\n", 20<<20/56),
		"blank lines end": "Subject: x\n\n\n\n\n",
	}
}

// A child speaks SMTP by a socket pair; the message comes out as it went in, below what the server adds.
func TestBytesStayUnchanged(t *testing.T) {
	bin := mailtest.Build(t, "smtpsend", "smtpd")
	office := filepath.Join(t.TempDir(), "office")
	if err := os.MkdirAll(filepath.Join(office, "example.org", "alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range messages() {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			pipe := fmt.Sprintf("'%s/smtpd' --max-size 40000000 --office '%s' -- /bin/sh -c 'cat >%s'", bin, office, out)
			said, exit := smtpsend(t, text, "-f", "me@example.net", "--pipe", pipe, "alice@example.org")
			if exit != 0 || !strings.HasPrefix(said, "K\talice@example.org\tpipe\t250 ") {
				t.Fatalf("exit %d: %s", exit, said)
			}
			got, err := os.ReadFile(out)
			if err != nil || !bytes.HasSuffix(got, []byte(text)) || len(got)-len(text) > 1000 {
				t.Errorf("got %d bytes, %v, want %d unchanged at the end", len(got), err, len(text))
			}
		})
	}
}

// sink runs Postfix's smtp-sink until the end of the test and waits until it listens.
func sink(t *testing.T, network, address string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, mailtest.Peer(t, "smtp-sink"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	giveUp := time.After(20 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("smtp-sink: %s", stderr.String())
		case <-giveUp:
			t.Fatalf("smtp-sink does not listen: %v", err)
		}
	}
}

func TestSink(t *testing.T) {
	for _, mode := range []struct {
		name string
		args []string
	}{
		{"all extensions", nil},
		{"no pipelining", []string{"-p"}},
		{"HELO only", []string{"-e"}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			address, dump := "127.0.0.1:"+mailtest.FreePort(t), filepath.Join(t.TempDir(), "dump")
			user := []string{}
			if os.Getuid() == 0 {
				user = []string{"-u", "root"}
			}
			sink(t, "tcp", address, append(append(append([]string{"-c"}, user...), mode.args...), "-D", dump, "inet:"+address, "10")...)
			for name, text := range messages() {
				os.Remove(dump)
				said, exit := smtpsend(t, text, "-f", "me@example.net", "--server", "smtp://"+address, "a@example.org", "b@example.org")
				want := "K\ta@example.org\t" + address + "\t250 2.0.0 Ok\nK\tb@example.org\t" + address + "\t250 2.0.0 Ok\n"
				if exit != 0 || said != want {
					t.Errorf("%s: exit %d, got %q, want %q", name, exit, said, want)
				}
				got, err := os.ReadFile(dump)
				if mode.name == "HELO only" && name == "20 MB, 8-bit" { // no 8BITMIME
					text = strings.ReplaceAll(strings.TrimPrefix(text, "Subject: big\n"), "\xe4", "=E4")
				}
				if err != nil || !bytes.Contains(got, []byte(text)) {
					t.Errorf("%s: %d bytes in the sink, %v, want the %d sent among them", name, len(got), err, len(text))
				}
			}
		})
	}
}

func TestSinkLMTP(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	args := []string{"-L", "-c"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	sink(t, "unix", socket, append(args, "unix:"+socket, "10")...)
	said, exit := smtpsend(t, "Subject: x\n\n", "-f", "me@example.net", "--server", "lmtp+unix://"+socket, "a@example.org", "b@example.org", "a@example.org")
	if exit != 0 || strings.Count(said, "K\t") != 3 {
		t.Errorf("exit %d, said %q, want three lines with K", exit, said)
	}
}

// daemon runs our smtpd on a socket it gets as systemd passes it, and returns its address.
func daemon(t *testing.T, office string, args ...string) string {
	t.Helper()
	bin := mailtest.Build(t, "smtpd")
	return activate(t, append([]string{filepath.Join(bin, "smtpd"), "--office", office, "--name", "localhost"}, args...)...)
}

// activate runs a program on a socket as systemd passes it, and returns its address.
func activate(t *testing.T, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"`}, args...)...)
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "localhost:" + port
}

// TLS and logging in, against our own server with the pair it made itself.
func TestDemandedTLS(t *testing.T) {
	dir := t.TempDir()
	office := filepath.Join(dir, "office")
	if err := os.MkdirAll(filepath.Join(office, "example.org", "alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	bin := mailtest.Build(t, "smtpsend", "smtpd")
	passwd := exec.Command(filepath.Join(bin, "smtpd"), "passwd", "--office", office, "alice@example.org")
	passwd.Stdin = strings.NewReader("correct horse\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("smtpd passwd: %v: %s", err, out)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := daemon(t, office)
	pem := filepath.Join(office, "tls", "cert.pem")
	tests := []struct {
		name string
		args []string
		want string
		exit int
	}{
		{"offered", []string{"--server", "smtp://" + address}, "K\t", 0},
		{"any certificate", []string{"--server", "smtp+tls://" + address, "--no-verify"}, "K\t", 0},
		{"a root that is not its own", []string{"--server", "smtp+tls://" + address}, "Z\talice@example.org\t" + address + "\t451 4.7.5 TLS handshake: ", 75},
		{"its root", []string{"--server", "smtp+tls://" + address, "--cacert", pem}, "K\t", 0},
		{"logged in", []string{"--server", "smtp+tls://" + address, "--cacert", pem, "--user", "alice@example.org", "--password-file", secret}, "K\t", 0},
		{"logged in by a command", []string{"--server", "smtp+tls://" + address, "--cacert", pem, "--user", "alice@example.org", "--password-command", "echo correct horse"}, "K\t", 0},
		{"wrong password", []string{"--server", "smtp+tls://" + address, "--cacert", pem, "--user", "alice@example.org", "--password-command", "echo x"}, "Z\talice@example.org\t" + address + "\t451 4.3.5 log in by PLAIN: 535 5.7.8 ", 78},
		{"TLS from the first byte, which it does not speak", []string{"--server", "smtps://" + address, "--no-verify"}, "Z\t", 75},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			said, exit := smtpsend(t, "Subject: x\n\n", append(tt.args, "--timeout", "20s", "-f", "alice@example.org", "alice@example.org")...)
			if exit != tt.exit || !strings.HasPrefix(said, tt.want) {
				t.Errorf("exit %d, want %d; got %q, want it to begin with %q", exit, tt.exit, said, tt.want)
			}
		})
	}
}
