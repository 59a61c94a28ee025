package main

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// freePort is a port of loopback that nobody used a moment ago, for peers that cannot choose one.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// open makes the directories of a test passable for peers that give up being root.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// follow starts a peer that ends with the test, with its process group, and returns what it prints, by lines.
func follow(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1<<16)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer timer.Stop()
		cmd.Wait()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		r.Close()
	})
	return lines
}

// await waits until n lines of a peer match want. A line that matches never fails the test.
func await(t *testing.T, lines <-chan string, n int, want, never string) {
	t.Helper()
	good, bad := regexp.MustCompile(want), regexp.MustCompile(never)
	for giveUp := time.After(2 * patience); n > 0; {
		select {
		case line, ok := <-lines:
			t.Log(line)
			if !ok || never != "" && bad.MatchString(line) {
				t.Fatalf("waiting for %q: %q", want, line)
			}
			if good.MatchString(line) {
				n--
			}
		case <-giveUp:
			t.Fatalf("%d times %q is missing", n, want)
		}
	}
}

// postfix runs a Postfix of its own that passes everything on by transport, and returns its port and log.
func postfix(t *testing.T, transport string, settings ...string) (port string, log <-chan string) {
	t.Helper()
	mailtest.Peer(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("Postfix must be started by root")
	}
	dir := open(t)
	port = freePort(t)
	for _, sub := range strings.Fields("etc data queue queue/pid queue/active queue/bounce queue/corrupt queue/defer queue/deferred queue/flush " +
		"queue/hold queue/incoming queue/private queue/public queue/maildrop queue/saved queue/trace") {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own := exec.Command("sh", "-c", `chown postfix "$0/data" "$0"/queue/* && chown root "$0/queue/pid"`, dir)
	if out, err := own.CombinedOutput(); err != nil {
		t.Skipf("Postfix is not set up: %s", out)
	}
	main := append([]string{"compatibility_level = 3.6", "queue_directory = " + dir + "/queue", "data_directory = " + dir + "/data",
		"maillog_file = /dev/stdout", "myhostname = relay.example.net", "mydestination =", "inet_interfaces = 127.0.0.1",
		"inet_protocols = ipv4", "mynetworks = 127.0.0.0/8", "local_header_rewrite_clients =", "alias_maps =", "local_recipient_maps =",
		"default_transport = " + transport, "relay_transport = " + transport, "smtp_host_lookup = native", "smtp_line_length_limit = 0",
		"minimal_backoff_time = 1s", "queue_run_delay = 1s", "smtputf8_enable = yes"}, settings...)
	var master strings.Builder
	fmt.Fprintf(&master, "127.0.0.1:%s inet n - n - - smtpd\n", port)
	for _, s := range strings.Fields("bounce:0 defer:0:bounce trace:0:bounce rewrite:-:trivial-rewrite smtp:- lmtp:- relay:-:smtp " +
		"error:- retry:-:error discard:- proxymap:- anvil:1 scache:1 tlsmgr:1 verify:1") {
		f := append(strings.Split(s, ":"), strings.SplitN(s, ":", 2)[0])
		fmt.Fprintf(&master, "%s unix - - n - %s %s\n", f[0], f[1], f[2])
	}
	master.WriteString("cleanup unix n - n - 0 cleanup\npickup unix n - n 60 1 pickup\nqmgr unix n - n 300 1 qmgr\nflush unix n - n 1000? 0 flush\n" +
		"showq unix n - n - - showq\npostlog unix-dgram n - n - 1 postlogd\n")
	for name, text := range map[string]string{"main.cf": strings.Join(main, "\n") + "\n", "master.cf": master.String()} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(mailtest.Peer(t, "postconf"), "-h", "-d", "daemon_directory").Output()
	if err != nil {
		t.Fatal(err)
	}
	log = follow(t, exec.Command(filepath.Join(strings.TrimSpace(string(out)), "master"), "-c", filepath.Join(dir, "etc"), "-s"))
	await(t, log, 1, "daemon started", "fatal")
	return port, log
}

// sending runs our smtpsend with a letter.
func sending(t *testing.T, letter string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend"), args...)
	cmd.Stdin = strings.NewReader(letter)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("smtpsend %q: %v\n%s", args, err, out)
	}
}

// letters must come as they are through any chain that keeps to the standard.
var letters = map[string]string{
	"dots":      "Subject: dots\nFrom: a@example.com\n\n.\n..\n.x\nx\n.\n\n",
	"8 bit":     "Subject: 8bit\nFrom: a@example.com\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nb\xf6dy \xff\n",
	"long line": "Subject: long\nFrom: a@example.com\n\n" + strings.Repeat("x", 998) + "\n." + strings.Repeat("y", 997) + "\n",
	"blanks":    "Subject: blanks\nFrom: a@example.com\n\n\n\n \n\t\nend\n\n\n",
	"250 kB":    "Subject: big\nFrom: a@example.com\n\n" + strings.Repeat("a line of some length with a \xfe in it\n.\n", 250<<10/40),
}

// A real Postfix between smtpsend and smtpd, by SMTP and by LMTP, in clear and with TLS.
func TestPostfixRelays(t *testing.T) {
	for name, c := range map[string]struct {
		transport, with string
		settings, args  []string
	}{
		"clear":         {"smtp", "with ESMTP ", []string{"smtp_tls_security_level = none"}, nil},
		"opportunistic": {"smtp", "with ESMTPS ", []string{"smtp_tls_security_level = may"}, nil},
		"required":      {"smtp", "with ESMTPS ", []string{"smtp_tls_security_level = encrypt"}, nil},
		"wrapped":       {"smtp", "with ESMTPS ", []string{"smtp_tls_security_level = encrypt", "smtp_tls_wrappermode = yes"}, []string{"--tls-wrap"}},
		"lmtp":          {"lmtp", "with LMTP ", []string{"lmtp_tls_security_level = none"}, []string{"--lmtp"}},
		"lmtp, TLS":     {"lmtp", "with LMTPS ", []string{"lmtp_tls_security_level = encrypt"}, []string{"--lmtp"}},
	} {
		t.Run(name, func(t *testing.T) {
			mailtest.Peer(t, "postfix")
			bin, office := newOffice(t)
			to := "[127.0.0.1]:" + listening(t, bin, office, c.args...)
			if c.transport == "lmtp" {
				to = "inet:" + to
			}
			port, log := postfix(t, c.transport+":"+to, c.settings...)
			for i, kind := range slices.Sorted(maps.Keys(letters)) {
				sending(t, letters[kind], "-f", "a@example.com", "--server", "smtp://127.0.0.1:"+port, "--chunking", []string{"always", "never"}[i%2],
					"alice@example.org", "bob@example.org")
			}
			await(t, log, 2*len(letters), "status=sent", "status=(bounced|deferred)|fatal|panic")
			for _, user := range []string{"alice", "bob"} {
				got := mails(t, office, user)
				if len(got) != len(letters) {
					t.Errorf("%s has %d messages, want %d", user, len(got), len(letters))
				}
				for kind, text := range letters {
					if n := slices.IndexFunc(got, func(m string) bool { return strings.HasSuffix(m, "\n"+text) && strings.Contains(m, c.with) }); n < 0 {
						t.Errorf("%s: no message %q %s and as it was sent", user, kind, c.with)
					}
				}
			}
		})
	}
}
