package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pennypost/internal/mailtest"
)

// Messages of many sizes go through a Postfix under load, in several sessions at once, and none is lost or doubled.
func TestPostfixLoad(t *testing.T) {
	source := mailtest.Peer(t, "smtp-source")
	bin, office := newOffice(t)
	peer := passOn(t, "smtp:[127.0.0.1]:"+listening(t, bin, office), "smtp_tls_security_level = may", "smtpd_client_connection_count_limit = 0")
	total := 0
	for i, size := range []int{1, 80, 700, 4096, 33000, 200000} {
		const each = 20
		cmd := exec.Command(source, "-s", "5", "-m", fmt.Sprint(each), "-l", fmt.Sprint(size), "-S", fmt.Sprintf("size %d", i),
			"-f", "a@example.com", "-t", "alice@example.org", "127.0.0.1:"+peer.Port)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("smtp-source: %v: %s", err, out)
		}
		total += each
	}
	mailtest.Await(t, peer.Log, total, "status=sent", "status=bounced|fatal|panic")
	ids := map[string]int{}
	for _, m := range mails(t, office, "alice") {
		for line := range strings.Lines(m) {
			if id, ok := strings.CutPrefix(line, "Message-Id: "); ok {
				ids[id]++
			}
		}
	}
	if got := len(mails(t, office, "alice")); got != total || len(ids) != total {
		t.Errorf("%d messages with %d different ids, want %d", got, len(ids), total)
	}
}

// Many sessions at once bring messages of many sizes straight to us, and each is there, byte for byte as long as it was.
func TestSourceLoad(t *testing.T) {
	source := mailtest.Peer(t, "smtp-source")
	bin, office := newOffice(t)
	port := listening(t, bin, office, "--max-per-address", "0", "--max-per-network", "0")
	const each = 25
	want := map[string]int{}
	var loads sync.WaitGroup
	for i, size := range []int{1, 79, 80, 81, 997, 4096, 65537, 300001} {
		want[fmt.Sprintf("size %d", i)] = size
		loads.Go(func() {
			args := []string{"-s", "5", "-m", fmt.Sprint(each), "-l", fmt.Sprint(size), "-S", fmt.Sprintf("size %d", i), "-f", "a@example.com", "-t", "alice@example.org"}
			if i%2 == 1 {
				args = append(args, "-d") // several messages in a session
			}
			if out, err := exec.Command(source, append(args, "127.0.0.1:"+port)...).CombinedOutput(); err != nil {
				t.Errorf("smtp-source: %v: %s", err, out)
			}
		})
	}
	loads.Wait()
	count := map[string]int{}
	ids := map[string]bool{}
	for _, m := range mails(t, office, "alice") {
		head, body, _ := strings.Cut(m, "\n\n")
		_, subject, _ := strings.Cut(head, "\nSubject: ")
		subject, _, _ = strings.Cut(subject, "\n")
		_, id, _ := strings.Cut(head, "\nMessage-Id: ")
		count[subject]++
		ids[id] = true
		// The last line end comes on top of what smtp-source was told.
		if got := len(body) + strings.Count(body, "\n") - len("\r\n"); got != want[subject] {
			t.Errorf("%s: a body of %d octets, want %d", subject, got, want[subject])
		}
	}
	for subject := range want {
		if count[subject] != each {
			t.Errorf("%s: %d messages, want %d", subject, count[subject], each)
		}
	}
	if len(ids) != each*len(want) {
		t.Errorf("%d different messages, want %d", len(ids), each*len(want))
	}
}

// fromElsewhere lets the clients of a port seem to come from 192.0.2.1: this host's own are not greylisted.
func fromElsewhere(t *testing.T, to string) (port string) {
	return strconv.Itoa(mailtest.Serve(t, "127.0.0.1", 0, func(_ context.Context, c net.Conn) {
		server, err := net.Dial("tcp", "127.0.0.1:"+to)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		fmt.Fprintf(server, "PROXY TCP4 192.0.2.1 192.0.2.2 4000 25\r\n")
		go func() { io.Copy(server, c); server.(*net.TCPConn).CloseWrite() }()
		io.Copy(c, server)
	}))
}

// A Postfix whose mail is greylisted tries again, and then it is taken.
func TestPostfixGreylisted(t *testing.T) {
	bin, office := newOffice(t)
	port := fromElsewhere(t, listening(t, bin, office, "--greylist", "1s", "--proxy-from", "127.0.0.0/8"))
	peer := passOn(t, "smtp:[127.0.0.1]:"+port, "smtp_tls_security_level = none")
	letter := "Subject: grey\n\nbody\n"
	sending(t, letter, "-f", "a@example.com", "--server", "smtp://127.0.0.1:"+peer.Port, "bob@example.org")
	mailtest.Await(t, peer.Log, 1, `status=deferred \(.* 45[01] 4\.`, "status=(sent|bounced)|fatal|panic")
	mailtest.Await(t, peer.Log, 1, "status=sent", "status=bounced|fatal|panic")
	if m := only(t, office, "bob"); !strings.HasSuffix(m, letter) {
		t.Errorf("got %q", m)
	}
}

// An address and a header in UTF-8 come through Postfix to us.
func TestPostfixUTF8(t *testing.T) {
	bin, office := newOffice(t)
	peer := passOn(t, "smtp:[127.0.0.1]:"+listening(t, bin, office), "smtp_tls_security_level = none")
	letter := "From: a@example.com\nSubject: gr\u00fc\u00dfe\n\nbody\n"
	sending(t, letter, "-f", "gr\u00fcn@example.com", "--server", "smtp://127.0.0.1:"+peer.Port, "bob@example.org")
	mailtest.Await(t, peer.Log, 1, "status=sent", "status=(bounced|deferred)|fatal|panic")
	if m := only(t, office, "bob"); !strings.HasSuffix(m, letter) || !strings.Contains(m, "with UTF8SMTP") || !strings.Contains(m, "<gr\u00fcn@example.com>") {
		t.Errorf("got %q", m)
	}
}

// Python's smtplib speaks SMTP with UTF-8 addresses, and LMTP with a reply for each recipient.
func TestPythonSmtplib(t *testing.T) {
	mailtest.Peer(t, "python3")
	bin, office := newOffice(t)
	const script = `
import smtplib, sys
from email.message import EmailMessage
m = EmailMessage()
m["Subject"], m["From"], m["To"] = "gr\u00fc\u00dfe", "gr\u00fcn@example.com", "bob@example.org"
m.set_content("line\n.\n..\n")
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
    s.send_message(m)
with smtplib.LMTP("127.0.0.1", int(sys.argv[2])) as s:
    refused = s.sendmail("a@example.com", ["bob@example.org", "nobody@example.org"], "Subject: lmtp\r\n\r\nbody\r\n")
    print(sorted(refused), refused["nobody@example.org"][0])
`
	out, err := runPeer(t, "", "python3", "-c", script, listening(t, bin, office), listening(t, bin, office, "--lmtp"))
	if err != nil || out != "['nobody@example.org'] 550\n" {
		t.Fatalf("python3: %v: %s", err, out)
	}
	all := strings.Join(mails(t, office, "bob"), "\n")
	if len(mails(t, office, "bob")) != 2 || !strings.Contains(all, "Subject: gr\u00fc\u00dfe\n") || !strings.Contains(all, "\n.\n..\n") ||
		!strings.Contains(all, "with UTF8SMTP") || !strings.Contains(all, "with LMTP") {
		t.Errorf("got %q", all)
	}
}
