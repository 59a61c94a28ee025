package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// dovecot runs an LMTP server of Dovecot for alice and bob of example.org, whose mailboxes are in the directory it returns.
func dovecot(t *testing.T) (home, port string) {
	t.Helper()
	program := mailtest.Peer(t, "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		t.Skipf("peer dovecot-lmtpd is not installed: %v", err)
	}
	if version, _ := exec.Command(program, "--version").Output(); !strings.HasPrefix(string(version), "2.3.") {
		t.Skipf("Dovecot %s is configured in another way", version)
	}
	if os.Getuid() != 0 {
		t.Skip("Dovecot must be started by root")
	}
	home, port = mailtest.Passable(t), mailtest.FreePort(t)
	users := ""
	for _, user := range []string{"alice", "bob"} {
		users += user + "@example.org::65534:65534::" + home + "/" + user + "::\n"
		if err := os.Mkdir(filepath.Join(home, user), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(home, user), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf("base_dir = %[1]s/run\nlog_path = /dev/stderr\nssl = no\nprotocols = lmtp\nauth_failure_delay = 0\nmail_location = maildir:~/Maildir\n"+
		"first_valid_uid = 1\npostmaster_address = postmaster@example.org\n"+
		"passdb {\n driver = passwd-file\n args = %[1]s/users\n}\nuserdb {\n driver = passwd-file\n args = %[1]s/users\n}\n"+
		"service lmtp {\n unix_listener lmtp {\n  mode = 0600\n }\n inet_listener lmtp {\n  address = 127.0.0.1\n  port = %[2]s\n }\n}\n", home, port)
	for name, text := range map[string]string{"users": users, "dovecot.conf": config} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mailtest.Follow(t, exec.Command(program, "-F", "-c", filepath.Join(home, "dovecot.conf")))
	mailtest.Listens(t, port)
	return home, port
}

// Dovecot takes letters by LMTP as they are, and answers for each recipient.
func TestDovecotLMTP(t *testing.T) {
	home, port := dovecot(t)
	for way, url := range map[string]string{"inet": "lmtp://127.0.0.1:" + port, "unix": "lmtp+unix://" + home + "/run/lmtp"} {
		all := messages()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if text := all[name]; text == "" || len(text) > 1<<20 || way == "unix" && name != "dots" { // to nothing Dovecot adds a line
				continue
			}
			t.Run(way+"/"+name, func(t *testing.T) {
				said, exit := smtpsend(t, all[name], "--timeout", "20s", "-f", "me@example.net", "--server", url, "alice@example.org", "nobody@example.org", "bob@example.org")
				lines := strings.Split(said, "\n")
				if exit != 100 || len(lines) != 4 || !strings.HasPrefix(lines[0], "K\talice@example.org\t") ||
					!strings.HasPrefix(lines[1], "D\tnobody@example.org\t") || !strings.HasPrefix(lines[2], "K\tbob@example.org\t") {
					t.Fatalf("exit %d, said %q", exit, said)
				}
				for _, user := range []string{"alice", "bob"} {
					files, _ := filepath.Glob(filepath.Join(home, user, "Maildir/new/*"))
					if len(files) != 1 {
						t.Fatalf("%s has %d messages, want 1", user, len(files))
					}
					if got := string(mustRead(t, files[0])); !strings.HasSuffix(got, all[name]) {
						t.Errorf("%s got %.300q", user, got)
					}
					os.Remove(files[0])
				}
			})
		}
	}
}

// A real SOCKS5 proxy connects for us, to a name that only it looks up, and to a mail exchanger.
func TestSocksProxy(t *testing.T) {
	port := mailtest.FreePort(t)
	log := mailtest.Follow(t, exec.Command(mailtest.Peer(t, "microsocks"), "-i", "127.0.0.1", "-p", port))
	mailtest.Listens(t, port)
	office, server, _ := receiver(t, []string{"good.example"}, "mx.good.example")
	dns := mailtest.DNS(t, "good.example. MX 10 mx.good.example.\nmx.good.example. A 127.0.0.1")
	for i, way := range [][]string{{"--server", "smtp://localhost:" + server}, {"--resolver", dns, "--port", server}} {
		said, exit := smtpsend(t, sentText, append(way, "--socks", "127.0.0.1:"+port, "--timeout", "20s", "-f", "", "alice@good.example")...)
		if n := received(t, office, "good.example"); exit != 0 || n != i+1 {
			t.Errorf("%q: exit %d, %s; %d messages", way, exit, said, n)
		}
		mailtest.Await(t, log, 1, "connected to .*:"+server, "")
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	said, exit := smtpsend(t, sentText, "--server", "smtp://"+dead.Addr().String(), "--socks", "127.0.0.1:"+port, "--timeout", "20s", "-f", "", "alice@good.example")
	if exit != 75 || !strings.Contains(said, "451 4.4.1 ") {
		t.Errorf("nobody listens: exit %d, %s", exit, said)
	}
}
