package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

const smuggled = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil"

// Nothing but CRLF.CRLF ends a message that comes in: what follows anything else is never carried out.
func TestSmugglingIn(t *testing.T) {
	bin, office := newOffice(t)
	for name, port := range map[string]string{
		"as it comes": listening(t, bin, office),
		"normalized":  listening(t, bin, office, "--normalize", "127.0.0.0/8"),
	} {
		for _, end := range mailtest.AlmostEnds() {
			c, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			mailtest.Dialog(t, c, `
				<- 220 ...
				-> HELO client.example
				<- 250 ...
				-> MAIL FROM:<a@example.com>
				<- 250 ...
				-> RCPT TO:<bob@example.org>
				<- 250 ...
				-> DATA
				<- 354 ...`)
			fmt.Fprintf(c, "Subject: outer\r\n\r\nab%s%s\r\n.\r\n", end, smuggled)
			c.(*net.TCPConn).CloseWrite()
			said, _ := io.ReadAll(c)
			c.Close()
			if n := strings.Count(string(said), "\n"); n > 2 || n == 0 || strings.Contains(string(said), "354") {
				t.Errorf("%s: after %q the server said %q", name, end, said)
			}
			if got := mails(t, office, "alice"); len(got) != 0 {
				t.Fatalf("%s: %q smuggles %q", name, end, got)
			}
		}
	}
	for _, m := range mails(t, office, "bob") {
		if !strings.Contains(m, "Subject: outer\n") || !strings.HasSuffix(m, "evil\n") {
			t.Errorf("half a message: %q", m)
		}
	}
}

// Whatever is in a message that goes out, the next server sees one message; the strict one here would refuse bare CR and LF.
func TestSmugglingOut(t *testing.T) {
	bin, office := newOffice(t)
	port := listening(t, bin, office)
	smtpsend := filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend")
	// Those that servers of others were found to take for an end, and the short ones of the list.
	ends := []string{"\r\n\x00.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\n\x00.\n", "\n.\r\n"}
	for _, end := range mailtest.AlmostEnds() {
		if len(end) <= 4 && !strings.Contains(end, "..") {
			ends = append(ends, end)
		}
	}
	for _, chunking := range []string{"never", "always"} {
		for _, end := range ends {
			cmd := exec.Command(smtpsend, "-f", "a@example.com", "--server", "smtp://127.0.0.1:"+port, "--chunking", chunking, "bob@example.org")
			cmd.Stdin = strings.NewReader("Subject: outer\n\nab" + end + smuggled + "\n")
			out, err := cmd.CombinedOutput()
			got := mails(t, office, "bob")
			if err == nil && (len(got) != 1 || !strings.HasSuffix(got[0], "evil\n")) || err != nil && len(got) != 0 {
				t.Errorf("BDAT %s, %q: %v %s, the next server has %q", chunking, end, err, out, got)
			}
			if err != nil && !strings.HasPrefix(string(out), "D\t") {
				t.Errorf("BDAT %s, %q: %v %s, want it sent or refused for good", chunking, end, err, out)
			}
			if n := len(mails(t, office, "alice")); n != 0 {
				t.Fatalf("BDAT %s: %q smuggles", chunking, end)
			}
			if err := os.RemoveAll(filepath.Join(office, "example.org", "bob", "Maildir")); err != nil {
				t.Fatal(err)
			}
		}
	}
}
