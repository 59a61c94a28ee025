package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// strange are scripts of servers that are not as they should be, each up to the end of the session.
var strange = []struct {
	name, script string
	says         string // what each client says, nothing when it is content
}{
	{"in pieces, slowly", `
<= 220-slow.exam
~~ 50ms
<= ple\r\n220 ES
~~ 50ms
<= MTP\r\n
~> ^EHLO
<- 250-slow.example
<- 250-X-WHATEVER of that kind
<- 250 HELP
~> ^MAIL FROM:<me@example\.net>$
<- 250-2.1.0 go on,
<- 250-
<- 250 2.1.0 by all means
~> ^RCPT TO:<you@example\.org>$
<- 250-2.1.5 two
<- 250 2.1.5 lines
-> DATA
~~ 50ms
<- 354 now
-> [1 bytes of message]
-> .
<= 250 2.0.0
~~ 50ms
<= \x20taken\r\n
-> QUIT
<- 221 bye
<- EOF
`, ""},
	{"busy at once", "<- 421 4.3.2 too busy\n<- EOF\n", `421|gone|lost|closed`},
	{"no greeting", "<- EOF\n", `.`},
	{"knows HELO only, refuses the sender", `
<- 220 old.example
~> ^EHLO
<- 500 what
~> ^HELO
<- 250 old.example
~> ^MAIL
<- 550 5.7.1 not from you
~> ^(QUIT|RSET)
<- EOF
`, `550`},
	{"puts the recipient off", `
<- 220 grey.example
~> ^EHLO
<- 250 grey.example
~> ^MAIL
<- 250 ok
~> ^RCPT
<- 451 4.7.1 come back in five minutes
~> ^(QUIT|RSET)
<- 221 bye
<- EOF
`, `451`},
	{"drops at DATA", `
<- 220 drop.example
~> ^EHLO
<- 250 drop.example
~> ^MAIL
<- 250 ok
~> ^RCPT
<- 250 ok
-> DATA
<- RESET
`, `.`},
	{"half a reply, then the end", `
<- 220 half.example
~> ^EHLO
<- 250 half.example
~> ^MAIL
<= 250 o
~~ 50ms
<- EOF
`, `.`},
	{"refuses the message, in three lines", `
<- 220 no.example
~> ^EHLO
<- 250 no.example
~> ^MAIL
<- 250 ok
~> ^RCPT
<- 250 ok
-> DATA
<- 354 go
-> [1 bytes of message]
-> .
<- 554-5.6.0 this
<- 554-5.6.0 is not
<- 554 5.6.0 taken
~> ^(QUIT|RSET)
<- EOF
`, `554|Weird server reply`},
}

// scriptedServer has smtpd follow the script on each connection, and gives back the port and how each session ended.
func scriptedServer(t *testing.T, script string) (port string, ended chan string) {
	t.Helper()
	bin := filepath.Join(mailtest.Build(t, "smtpd"), "smtpd")
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	ended = make(chan string, 1)
	number := mailtest.Serve(t, "127.0.0.1", 0, func(ctx context.Context, c net.Conn) {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Error(err)
			return
		}
		c.Close() // the program has the only end
		defer f.Close()
		var said strings.Builder
		cmd := exec.CommandContext(ctx, bin, "--script", file)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, &said
		if err := cmd.Run(); err != nil {
			said.WriteString(err.Error())
		}
		ended <- said.String()
	})
	return strconv.Itoa(number), ended
}

// Clients of others meet servers that misbehave by a script: they keep to it, and tell what they met.
func TestScriptedServer(t *testing.T) {
	clients := map[string]func(port string) []string{
		"swaks": func(port string) []string {
			return []string{"--server", "127.0.0.1", "--port", port, "--from", "me@example.net", "--to", "you@example.org", "--timeout", "10"}
		},
		"curl": func(port string) []string {
			return []string{"-sS", "--max-time", "10", "--mail-from", "me@example.net", "--mail-rcpt", "you@example.org", "-T", "-", "smtp://127.0.0.1:" + port}
		},
		"msmtp": func(port string) []string {
			return []string{"--file=/dev/null", "--host=127.0.0.1", "--port=" + port, "--domain=client.example", "--tls=off", "--from=me@example.net", "you@example.org"}
		},
	}
	for client, args := range clients {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			mailtest.Peer(t, client)
			for _, s := range strange {
				t.Run(s.name, func(t *testing.T) {
					port, ended := scriptedServer(t, s.script)
					out, err := runPeer(t, "Subject: x\n\nbody\n", client, args(port)...)
					if (err == nil) != (s.says == "") || !regexp.MustCompile(s.says).MatchString(out) {
						t.Errorf("%v: said %q, want %q in it", err, out, s.says)
					}
					// Msmtp hangs up where others take their leave.
					if why := <-ended; why != "" && (client != "msmtp" || s.says == "" || !strings.Contains(why, `got \"\" and EOF`)) {
						t.Errorf("the client did not keep to the script: %s", why)
					}
				})
			}
		})
	}
}
