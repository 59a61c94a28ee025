package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"pennypost/internal/mailtest"
)

// startServer runs imapd for alice@example.org, whose password is "secret", until the end of the test. It returns
// the address and alice's Maildir.
func startServer(t *testing.T) (addr, maildir string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(mailtest.Build(t, "imapd"), "imapd")
	prepareOffice(t, dir, program)
	cmd := exec.Command(program, "--office", dir, "--listen", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			t.Log(s.Text())
			if m := listening.FindStringSubmatch(s.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("imapd ended with %v", err)
		}
	})
	select {
	case addr = <-found:
	case <-ended:
		t.Fatal("imapd ended")
	case <-time.After(20 * time.Second):
		t.Fatal("imapd does not listen")
	}
	return addr, filepath.Join(dir, "example.org", "alice", "Maildir")
}

// prepareOffice makes alice@example.org.
func prepareOffice(t *testing.T, dir, program string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "example.org", "alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	passwd := exec.Command(program, "--office", dir, "passwd", "alice@example.org")
	passwd.Stdin = strings.NewReader("secret\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("passwd: %v: %s", err, out)
	}
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// odd are messages that must go the whole way unchanged.
var odd = map[string][]byte{
	"large":     append([]byte("Subject: large\r\n\r\n"), bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 20<<20/78)...),
	"8-bit":     []byte("Subject: gr\xfcn\xff\r\nX: \x80\r\n\r\n\xe4\r\n"),
	"no header": []byte("\r\nonly a body"),
	"empty":     {},
}

// output is what a program says that must succeed.
func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return out
}

func TestCurl(t *testing.T) {
	curl := mailtest.Peer(t, "curl")
	addr, _ := startServer(t)
	uid := 0
	for name, text := range odd {
		if len(text) == 0 {
			continue // curl uploads no empty file
		}
		uid++
		file := filepath.Join(t.TempDir(), "message")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		output(t, curl, "-sS", "--url", "imap://"+addr+"/INBOX", "-T", file, "-u", "alice@example.org:secret")
		for _, how := range [][]string{{"-sS"}, {"-sSk", "--ssl-reqd"}} {
			got := output(t, curl, append(how, fmt.Sprintf("imap://%s/INBOX;UID=%d", addr, uid), "-u", "alice@example.org:secret")...)
			if !bytes.Equal(got, text) {
				t.Errorf("%s %q: got %d bytes, want %d", name, how, len(got), len(text))
			}
		}
	}
	if out, err := exec.Command(curl, "-sS", "imap://"+addr+"/", "-u", "alice@example.org:wrong").Output(); err == nil {
		t.Errorf("a wrong password was taken: %s", out)
	}
}

const imaplibScript = `
import imaplib, sys
m = imaplib.IMAP4(sys.argv[1], int(sys.argv[2]))
m.login('alice@example.org', 'secret')
def ok(r, want=None):
    assert r[0] == 'OK', r
    assert want is None or r[1] == want, (r, want)
    return r[1]
ok(m.create('A.B'), None)
ok(m.list(), [b'(\\Noselect \\HasChildren) "." A', b'(\\HasNoChildren) "." A.B', b'(\\HasNoChildren) "." INBOX'])
ok(m.subscribe('A.B')); ok(m.lsub(), [b'() "." A.B'])
ok(m.append('A.B', '(\\Flagged kw)', '" 1-Jan-2020 10:00:00 +0000"', b'Subject: x\r\n\r\ny\r\n'))
ok(m.append('A.B', None, None, b''))
ok(m.select('A.B'), [b'2'])
ok(m.search(None, 'SUBJECT', '"x"', 'KEYWORD', 'KW'), [b'1'])
ok(m.search('UTF-8', 'TEXT', 'nowhere'), [b''])
got = ok(m.fetch('1', '(FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[])'))
assert b'FLAGS (\\Flagged kw)' in got[0][0] and b'RFC822.SIZE 17' in got[0][0], got
assert got[0][1] == b'Subject: x\r\n\r\ny\r\n', got
assert ok(m.fetch('2', '(BODY[])'))[0][1] == b''
ok(m.copy('1', 'INBOX')); ok(m.store('1', '+FLAGS', '\\Deleted')); ok(m.expunge(), [b'1'])
ok(m.uid('MOVE', '2', 'INBOX')); ok(m.close())
ok(m.status('INBOX', '(MESSAGES UNSEEN)'), [b'INBOX (MESSAGES 2 UNSEEN 1)'])
ok(m.rename('A.B', 'C')); ok(m.delete('C')); ok(m.unsubscribe('A.B'))
assert m.select('C')[0] == 'NO'
m.logout()
`

func TestImaplib(t *testing.T) {
	python := mailtest.Peer(t, "python3")
	addr, _ := startServer(t)
	host, port, _ := strings.Cut(addr, ":")
	output(t, python, "-c", imaplibScript, host, port)
}

// mbsync brings two Maildirs together through the server, with flags and removals, both ways.
func TestMbsync(t *testing.T) {
	mbsync := mailtest.Peer(t, "mbsync")
	addr, remote := startServer(t)
	host, port, _ := strings.Cut(addr, ":")
	dir := t.TempDir()
	local := filepath.Join(dir, "local")
	for _, sub := range []string{"INBOX/cur", "INBOX/new", "INBOX/tmp", "Sent/cur", "Sent/new", "Sent/tmp"} {
		if err := os.MkdirAll(filepath.Join(local, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range odd {
		file := filepath.Join(local, "INBOX", "cur", "1."+strings.ReplaceAll(name, " ", "")+":2,S")
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "config")
	text := fmt.Sprintf("IMAPStore r\nHost %s\nPort %s\nUser alice@example.org\nPass secret\nSSLType None\nAuthMechs *\n\n"+
		"MaildirStore l\nPath %s/\nInbox %s/INBOX\nSubFolders Verbatim\n\n"+
		"Channel c\nFar :r:\nNear :l:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n", host, port, local, local)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, mbsync, "-c", config, "c")
	match := func(pattern string, want int) []string {
		t.Helper()
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) != want {
			t.Errorf("%s: found %q, %v, want %d", pattern, found, err, want)
		}
		return found
	}
	match(remote+"/.Sent/cur", 1)
	// mbsync passes over a message without any bytes; the others are there with their flags.
	have := match(remote+"/cur/*:2,S", len(odd)-1)
	for _, name := range have {
		if err := os.Rename(name, name+"T"); err != nil {
			t.Fatal(err)
		}
	}
	output(t, mbsync, "-c", config, "c")
	match(remote+"/cur/*", 0)
}

// dial logs in with the client of another library; news is given the number of messages when it changes.
func dial(t *testing.T, addr string) (c *imapclient.Client, news chan uint32) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	news = make(chan uint32, 10)
	c = imapclient.New(conn, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				news <- *data.NumMessages
			}
		},
	}})
	t.Cleanup(func() { c.Close() })
	must(t, c.Login("alice@example.org", "secret").Wait())
	return c, news
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestClientReads(t *testing.T) {
	addr, _ := startServer(t)
	c, _ := dial(t, addr)
	text := "From: \"A, B\" <a@b.c>\r\nTo: g: x@y, z@w;\r\nSubject: \xe4\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ntwo\r\n--b--\r\n"
	a := c.Append("INBOX", int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}})
	_, err := a.Write([]byte(text))
	must(t, errors.Join(err, a.Close()))
	uid, err := a.Wait()
	must(t, err)
	box, err := c.Select("INBOX", nil).Wait()
	must(t, err)
	if box.NumMessages != 1 || uid.UID != 1 || uid.UIDValidity != box.UIDValidity {
		t.Errorf("got %+v, %+v", box, uid)
	}
	list, err := c.Fetch(imap.UIDSetNum(1), &imap.FetchOptions{Envelope: true, Flags: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{{Peek: true}, {Part: []int{2, 1}, Peek: true}}}).Collect()
	must(t, err)
	m := list[0]
	if m.Envelope.From[0].Name != "A, B" || m.RFC822Size != int64(len(text)) || m.BodyStructure.MediaType() != "multipart/mixed" {
		t.Errorf("got %+v %+v", m.Envelope, m.BodyStructure)
	}
	if len(m.BodySection) != 2 || string(m.BodySection[0].Bytes) != text || string(m.BodySection[1].Bytes) != "two" {
		t.Errorf("got %+v", m.BodySection)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Body: []string{"TWO"}}, nil).Wait()
	must(t, err)
	if got := found.AllUIDs(); len(got) != 1 || got[0] != 1 {
		t.Errorf("found %v", got)
	}
}

func TestClientIdlesAndMoves(t *testing.T) {
	addr, remote := startServer(t)
	c, news := dial(t, addr)
	_, err := c.Select("INBOX", nil).Wait()
	must(t, err)
	idle, err := c.Idle()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(remote, "new", "9.z"), []byte("Subject: new\n\n"), 0o600))
	select {
	case n := <-news:
		if n != 1 {
			t.Errorf("IDLE told of %d messages", n)
		}
	case <-time.After(20 * time.Second):
		t.Error("IDLE told nothing")
	}
	must(t, errors.Join(idle.Close(), idle.Wait()))
	must(t, c.Create("Old", nil).Wait())
	moved, err := c.Move(imap.SeqSetNum(1), "Old").Wait()
	must(t, err)
	if moved.DestUIDs.String() != "1" {
		t.Errorf("got %+v", moved)
	}
	must(t, c.Logout().Wait())
}
