package main

import (
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

// stayPeer starts a program that stays until the end of the test, and waits until its socket takes connections.
func stayPeer(t *testing.T, socket string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for end := time.After(patience); ; {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return
		}
		select {
		case <-retry.C:
		case <-ended:
			t.Fatalf("%s ended:\n%s", name, log.String())
		case <-end:
			t.Fatalf("%s does not listen:\n%s", name, log.String())
		}
	}
}

// sent plays a message of alice to a server and returns what it said to it.
func sent(t *testing.T, port, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	script := "<- 220 ...\n-> HELO client.example\n<- 250 ...\n-> MAIL FROM:<alice@example.org>\n<- 250 ...\n-> RCPT TO:<bob@example.org>\n<- 250 ...\n" +
		"-> DATA\n<- 354 ...\n"
	mailtest.Dialog(t, c, script)
	fmt.Fprintf(c, "%s.\r\n", strings.ReplaceAll(text, "\n", "\r\n"))
	b := make([]byte, 512)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// delivered are the messages of bob.
func delivered(t *testing.T, office string) []string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(office, "example.org", "bob", "Maildir", "new", "*"))
	var all []string
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// OpenDKIM signs what goes through it, and the signature is good.
func TestOpenDKIM(t *testing.T) {
	opendkim := mailtest.Peer(t, "opendkim")
	genkey := mailtest.Peer(t, "openssl")
	dir := t.TempDir()
	if out, err := exec.Command(genkey, "genrsa", "-out", filepath.Join(dir, "key"), "2048").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pub, err := exec.Command(genkey, "rsa", "-in", filepath.Join(dir, "key"), "-pubout", "-outform", "PEM").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(pub)), "\n")
	record := "v=DKIM1; p=" + strings.Join(lines[1:len(lines)-1], "")
	var zone strings.Builder
	fmt.Fprintf(&zone, "$ORIGIN example.org.\nsel._domainkey TXT")
	for len(record) > 0 {
		n := min(200, len(record))
		fmt.Fprintf(&zone, " %q", record[:n])
		record = record[n:]
	}
	zone.WriteString("\n")
	zoneFile := filepath.Join(dir, "zone")
	if err := os.WriteFile(zoneFile, []byte(zone.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	config := filepath.Join(dir, "conf")
	if err := os.WriteFile(config, []byte("RequireSafeKeys no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stayPeer(t, socket, opendkim, "-f", "-x", config, "-p", "local:"+socket, "-d", "example.org", "-s", "sel", "-k", filepath.Join(dir, "key"),
		"-b", "s", "-c", "relaxed/simple", "-P", filepath.Join(dir, "pid"))
	bin, office := newOffice(t)
	// The second server checks what the first has signed.
	port := listening(t, bin, office, "--milter", "unix:"+socket)
	if got := sent(t, port, "From: alice@example.org\nSubject: a folded\n subject\n\n..body\n\n\n"); !strings.HasPrefix(got, "250 ") {
		t.Fatalf("got %q", got)
	}
	mails := delivered(t, office)
	if len(mails) != 1 || !strings.Contains(mails[0], "\nDKIM-Signature: ") {
		t.Fatalf("not signed: %q", mails)
	}
	_, signed, _ := strings.Cut(mails[0], "\nDKIM-Signature: ")
	signed = "DKIM-Signature: " + strings.ReplaceAll(signed, "\n.", "\n..")
	second, office := newOffice(t)
	port = listening(t, second, office, "--auth-check", "--zone", zoneFile)
	if got := sent(t, port, signed); !strings.HasPrefix(got, "250 ") {
		t.Fatalf("got %q", got)
	}
	if mails := delivered(t, office); len(mails) != 1 || !strings.Contains(mails[0], "dkim=pass") {
		t.Errorf("the signature is not good: %q", mails)
	}
}

// Rspamd adds its fields, and refuses the test message that every filter refuses.
func TestRspamd(t *testing.T) {
	rspamd := mailtest.Peer(t, "rspamd")
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	config := fmt.Sprintf(`options { pidfile = "%[1]s/pid"; filters = ""; dns { nameserver = ["127.0.0.1:9"]; } local_addrs = []; }
logging { type = "console"; level = "warning"; }
worker "rspamd_proxy" { bind_socket = "%[1]s/s mode=0666"; milter = yes; timeout = 20s; count = 1;
  upstream "local" { default = yes; self_scan = yes; } }
metric { name = "default"; actions { reject = 15; add_header = 6; } }
gtube_patterns = "all";
`, dir)
	file := filepath.Join(dir, "rspamd.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o777)
	stayPeer(t, socket, rspamd, "-f", "-i", "-c", file, "--var=DBDIR="+dir, "--var=RUNDIR="+dir, "--var=LOGDIR="+dir)
	bin, office := newOffice(t)
	port := listening(t, bin, office, "--milter", "unix:"+socket)
	if got := sent(t, port, "From: alice@example.org\nSubject: hello\n\nbody\n"); !strings.HasPrefix(got, "250 ") {
		t.Errorf("got %q", got)
	}
	spam := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	if got := sent(t, port, "From: alice@example.org\nSubject: spam\n\n"+spam+"\n"); !strings.HasPrefix(got, "5") {
		t.Errorf("the test message is answered %q", got)
	}
	if mails := delivered(t, office); len(mails) != 1 {
		t.Errorf("delivered: %q", mails)
	}
}
