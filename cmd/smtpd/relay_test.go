package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// relayTricks are recipients by which relays were opened in the past, and others that look as if they were of example.org or
// xn--bcher-kva.example, with whether a mailbox is meant.
var relayTricks = []struct {
	path string
	ours bool
}{
	{"<chat@example.org>", true},
	{"<CHAT@EXAMPLE.ORG>", true},
	{"<chat@xn--bcher-kva.example>", true},
	{"<chat@XN--BCHER-KVA.Example>", true},
	{"<chat@b\u00fccher.example>", true},
	{"<chat@B\u00dcCHER.example>", true},
	{"<@victim.example:chat@example.org>", true},
	{`<"chat"@example.org>`, true},
	{"<chat%victim.example@example.org>", false},
	{`<"chat@victim.example"@example.org>`, false},
	{`<"chat%victim.example"@example.org>`, false},
	{"<victim.example!chat@example.org>", false},
	{"<@example.org:chat@victim.example>", false},
	{"<@example.org,@example.org:chat@victim.example>", false},
	{"<chat@victim.example@example.org>", false},
	{"<chat@example.org@victim.example>", false},
	{"<victim.example!chat>", false},
	{"<chat%victim.example>", false},
	{"<chat>", false},
	{"<chat@example.org.victim.example>", false},
	{"<chat@sub.example.org>", false},
	{"<chat@xexample.org>", false},
	{"<chat@example.org%00.victim.example>", false},
	{"<chat@example.org/../victim.example>", false},
	{"<../example.org/chat@example.org>", false},
	{"<chat@victim.example>", false},
	{"<chat@victim.example.>", false},
	{"<chat@VICTIM.EXAMPLE>", false},
	{"<chat@ex\u0430mple.org>", false}, // a Cyrillic a
	{"<chat@xn--victim-.example>", false},
	{"<chat@[127.0.0.1]>", false},
	{"<chat@[IPv6:::1]>", false},
	{"<chat@[IPv6:::ffff:127.0.0.1]>", false},
	{"<chat@127.0.0.1>", false},
	{"<chat@2130706433>", false},
	{"<chat@localhost>", false},
	{"<chat@[127.0.0.1]@example.org>", false},
}

// recipientsOf asks for each recipient in a transaction of its own and returns those that were taken, as they reached the command.
func recipientsOf(t *testing.T, port, found, path string) (taken bool, reached string) {
	t.Helper()
	os.Remove(found)
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewScanner(c)
	say := func(line string) string {
		if line != "" {
			fmt.Fprintf(c, "%s\r\n", line)
		}
		for in.Scan() {
			if len(in.Text()) > 3 && in.Text()[3] == ' ' {
				return in.Text()
			}
		}
		t.Fatalf("after %q: the server has gone: %v", line, in.Err())
		return ""
	}
	say("")
	say("EHLO client.example")
	say("MAIL FROM:<a@victim.example> SMTPUTF8")
	if !strings.HasPrefix(say("RCPT TO:"+path), "250 ") {
		return false, ""
	}
	say("DATA")
	fmt.Fprintf(c, "Subject: x\r\n\r\n.\r\n")
	if got := say(""); !strings.HasPrefix(got, "250 ") {
		t.Errorf("%s: the message was answered with %q", path, got)
	}
	b, _ := os.ReadFile(found)
	return true, string(b)
}

// Whatever an address looks like, a stranger sends nothing through us: what is taken is for a mailbox here, RELAYCLIENT in the
// environment changes nothing, and an office without a domain takes nothing.
func TestNoOpenRelay(t *testing.T) {
	bin := filepath.Join(mailtest.Build(t, "smtpd"), "smtpd")
	found := filepath.Join(t.TempDir(), "found")
	full, empty := t.TempDir(), t.TempDir()
	for _, domain := range []string{"example.org", "xn--bcher-kva.example"} {
		if err := os.MkdirAll(filepath.Join(full, domain, "chat"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, office := range []string{full, empty} {
		cmd := exec.Command(bin, "--office", office, "--name", "mx.example.org", "--listen", "127.0.0.1:0", "--max-per-address", "0",
			"--", "/bin/sh", "-c", `printf %s "$RECIPIENTS" >"$0"`, found)
		cmd.Env = append(os.Environ(), "RELAYCLIENT=")
		port := started(t, cmd)
		for _, c := range relayTricks {
			taken, reached := recipientsOf(t, port, found, c.path)
			if want := c.ours && office == full; taken != want {
				t.Errorf("%s: taken %v, want %v (reached %q)", c.path, taken, want, reached)
			}
			if lower := strings.ToLower(reached); taken && lower != "chat@example.org" && lower != "chat@xn--bcher-kva.example" &&
				lower != "chat@b\u00fccher.example" {
				t.Errorf("%s reached the command as %q", c.path, reached)
			}
		}
	}
}
