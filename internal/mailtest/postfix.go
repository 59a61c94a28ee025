package mailtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mail is a mail server of a test's own.
type Mail struct {
	Port string        // where it takes mail from anybody on loopback
	Log  <-chan string // what it logs, for Await
	dir  string
}

// Postfix runs a Postfix of its own until the end of the test, with these lines in its main.cf, and whatever configure does to
// the directory of its configuration. Nothing waits longer than a second for its next try.
func Postfix(t testing.TB, main []string, configure ...func(etc string)) *Mail {
	t.Helper()
	Peer(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("Postfix must be started by root")
	}
	m := &Mail{dir: Passable(t), Port: FreePort(t)}
	m.makeQueue(t)
	m.configure(t, main)
	for _, f := range configure {
		f(filepath.Join(m.dir, "etc"))
	}
	out, err := exec.Command(Peer(t, "postconf"), "-h", "-d", "daemon_directory").Output()
	if err != nil {
		t.Fatal(err)
	}
	m.Log = Follow(t, exec.Command(filepath.Join(strings.TrimSpace(string(out)), "master"), "-c", filepath.Join(m.dir, "etc"), "-s"))
	Await(t, m.Log, 1, "daemon started", "fatal")
	return m
}

func (m *Mail) makeQueue(t testing.TB) {
	t.Helper()
	for _, sub := range strings.Fields("etc data queue queue/pid queue/active queue/bounce queue/corrupt queue/defer queue/deferred queue/flush " +
		"queue/hold queue/incoming queue/private queue/public queue/maildrop queue/saved queue/trace") {
		if err := os.Mkdir(filepath.Join(m.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own := exec.Command("sh", "-c", `chown postfix "$0/data" "$0"/queue/* && chown root "$0/queue/pid"`, m.dir)
	if out, err := own.CombinedOutput(); err != nil {
		t.Skipf("Postfix is not set up: %s", out)
	}
}

func (m *Mail) configure(t testing.TB, main []string) {
	t.Helper()
	// A message that is tried again before the agent that put it off is gone is left alone until Postfix starts anew, so the time
	// between is more than a moment.
	main = append([]string{"compatibility_level = 3.6", "queue_directory = " + m.dir + "/queue", "data_directory = " + m.dir + "/data",
		"maillog_file = /dev/stdout", "myhostname = relay.example.net", "mydestination =", "inet_interfaces = 127.0.0.1",
		"inet_protocols = ipv4", "mynetworks = 127.0.0.0/8", "local_header_rewrite_clients =", "alias_maps =", "local_recipient_maps =",
		"smtp_host_lookup = native", "smtp_line_length_limit = 0", "minimal_backoff_time = 3s", "queue_run_delay = 1s",
		"transport_retry_time = 1s", "smtputf8_enable = yes"}, main...)
	var services strings.Builder
	fmt.Fprintf(&services, "127.0.0.1:%s inet n - n - - smtpd\n", m.Port)
	for _, s := range strings.Fields("bounce:0 defer:0:bounce trace:0:bounce rewrite:-:trivial-rewrite smtp:- lmtp:- relay:-:smtp " +
		"error:- retry:-:error discard:- proxymap:- anvil:1 scache:1 tlsmgr:1 verify:1") {
		f := append(strings.Split(s, ":"), strings.SplitN(s, ":", 2)[0])
		fmt.Fprintf(&services, "%s unix - - n - %s %s\n", f[0], f[1], f[2])
	}
	services.WriteString("local unix - n n - - local\ncleanup unix n - n - 0 cleanup\npickup unix n - n 60 1 pickup\nqmgr unix n - n 300 1 qmgr\n" +
		"flush unix n - n 1000? 0 flush\nshowq unix n - n - - showq\npostlog unix-dgram n - n - 1 postlogd\n")
	for name, text := range map[string]string{"main.cf": strings.Join(main, "\n") + "\n", "master.cf": services.String()} {
		if err := os.WriteFile(filepath.Join(m.dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
