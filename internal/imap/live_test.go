package imap

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"pennypost/internal/maildir"
	"pennypost/internal/mailtest"
)

// A script is a connection whose input is there from the start, in pieces; what is written is kept.
type script struct {
	in  []string
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	for len(s.in) > 0 && s.in[0] == "" {
		s.in = s.in[1:]
	}
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in[0])
	s.in[0] = s.in[0][n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

var sample = []txtar.File{
	{Name: "cur/1.a:2,S", Data: []byte("Subject: one\nFrom: a@b\n\nbody one\n")},
	{Name: "cur/2.a:2,T", Data: []byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n")},
	{Name: "new/3.a", Data: nil},
	{Name: ".Other/cur/.keep"},
	{Name: ".Other/dovecot-uidlist", Data: []byte("3 V8 N5 G00112233445566778899aabbccddeeff\n")},
}

// transcript plays input, in pieces, to a new mailbox and returns what is answered, without the time.
func transcript(t testing.TB, loggedIn bool, pieces ...string) string {
	t.Helper()
	d := makeBox(t, sample)
	conn := &script{in: pieces}
	p := Peer{Trusted: true}
	if loggedIn {
		p.Account = &Account{User: "alice", Dir: d}
	}
	if err := testConfig(d).Serve(context.Background(), conn, p); err != nil && strings.Contains(err.Error(), "panic") {
		t.Fatal(err)
	}
	d.Close()
	text := clock.ReplaceAllString(conn.out.String(), "")
	return text
}

// clock is what depends on the time: dates, and the UIDVALIDITY of mailboxes that were made.
var clock = regexp.MustCompile(`INTERNALDATE "[^"]*"|\b\d{10}\b`)

// How the input is cut makes no difference to what is answered, and whatever it is, the session ends.
func FuzzSession(f *testing.F) {
	seeds := []string{
		"a SELECT INBOX\r\nb FETCH 1:* (FLAGS BODY[] BODYSTRUCTURE ENVELOPE)\r\nc STORE 1 +FLAGS (x)\r\nd EXPUNGE\r\n",
		"a APPEND INBOX (\\Seen) {4+}\r\nabcd\r\nb CREATE {30+}\r\nz9 CREATE pwned\r\n\r\nc IDLE\r\nDONE\r\n",
		"a LOGIN {5}\r\nalice secret\r\nb LIST \"\" *\r\nc UID SEARCH OR TEXT x NOT (SEEN 1:2)\r\nd LOGOUT\r\n",
		"a EXAMINE Other\r\nb UID COPY 1 INBOX\r\nc CLOSE\r\nd RENAME INBOX New\r\ne DELETE Other\r\n\r\n",
		"a AUTHENTICATE PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\nb STATUS INBOX (MESSAGES)\r\nc UID MOVE 1:* Other\r\n",
	}
	for i, s := range seeds {
		f.Add(s, 17*i+5, i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, in string, cut int, loggedIn bool) {
		cut = max(0, min(cut, len(in)))
		whole := transcript(t, loggedIn, in)
		split := transcript(t, loggedIn, in[:cut], in[cut:])
		if whole != split {
			t.Errorf("in one piece:\n%s\nin two:\n%s", whole, split)
		}
	})
}

// FuzzSession tries other cuts and other input; here are some, and all that go through the literal.
func TestCuts(t *testing.T) {
	in := "a SELECT INBOX\r\nb APPEND INBOX {4+}\r\nabcd\r\nc FETCH 4 BODY[]\r\nd FETCH 1:3 (UID FLAGS)\r\ne LOGOUT\r\n"
	want := transcript(t, true, in)
	if !strings.Contains(want, "c OK") || !strings.HasSuffix(want, "e OK LOGOUT completed\r\n") {
		t.Fatalf("got %q", want)
	}
	literal := strings.Index(in, "{4+}")
	for cut := range in {
		if cut%9 != 0 && (cut < literal || cut > literal+len("{4+}\r\nabcd\r\n")) {
			continue
		}
		if got := transcript(t, true, in[:cut], in[cut:]); got != want {
			t.Errorf("cut at %d:\n%s\nwant\n%s", cut, got, want)
		}
	}
}

// A literal of APPEND that ends too early, at any byte, leaves nothing; one that is complete is there.
func TestAppendBrokenAtEveryByte(t *testing.T) {
	in := "a APPEND INBOX (\\Seen) {11+}\r\nA: b\r\n\r\nxyz\r\n"
	for cut := 0; cut <= len(in); cut++ {
		d := makeBox(t, nil)
		conn := &script{in: []string{in[:cut]}}
		testConfig(d).Serve(context.Background(), conn, Peer{Account: &Account{Dir: d}})
		answered := strings.Contains(conn.out.String(), "a OK")
		again, err := maildir.OpenPath(d.Path())
		if err != nil {
			t.Fatal(err)
		}
		list, err := again.Scan()
		if err != nil || len(list) > 1 || (len(list) == 1) != answered || answered != (cut == len(in)) {
			t.Errorf("cut at %d: %d messages, answered %v, %v", cut, len(list), answered, err)
		}
		left, err := os.ReadDir(d.Path() + "/tmp")
		if err != nil || len(left) > 0 {
			t.Errorf("cut at %d: left in tmp: %v, %v", cut, left, err)
		}
		again.Close()
	}
}

// lines talks to a session line by line.
type lines struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (l *lines) send(format string, a ...any) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l.conn, format+"\r\n", a...); err != nil {
		l.t.Fatal(err)
	}
}

// until reads lines up to the first that begins with prefix and returns them all.
func (l *lines) until(prefix string) []string {
	l.t.Helper()
	var got []string
	for {
		line, err := l.r.ReadString('\n')
		if err != nil {
			l.t.Fatalf("%v after %q, waiting for %q", err, got, prefix)
		}
		got = append(got, strings.TrimRight(line, "\r\n"))
		if strings.HasPrefix(line, prefix) {
			return got
		}
	}
}

// Two sessions and another program work on one mailbox: each is told what the others did, and no message
// leaves a session's list while it may use numbers.
func TestUpdates(t *testing.T) {
	d := makeBox(t, sample)
	session := func() *lines {
		own, err := maildir.OpenPath(d.Path())
		if err != nil {
			t.Fatal(err)
		}
		conn, _ := start(t, testConfig(own), Peer{Account: &Account{User: "alice", Dir: own}})
		l := &lines{t, conn, bufio.NewReader(conn)}
		l.until("* PREAUTH")
		l.send("a SELECT INBOX")
		l.until("a OK")
		return l
	}
	one, two := session(), session()
	one.send("b STORE 1 +FLAGS (\\Flagged Junk)")
	one.until("b OK")
	expect(t, two, "b NOOP", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded Junk)`, "* OK ...", `* 1 FETCH (UID 1 FLAGS (\Flagged \Seen Junk))`)
	one.send("c EXPUNGE")
	one.until("c OK")
	// Message 2 is gone, but FETCH and STORE still number it.
	expect(t, two, "c FETCH 3 UID", "* 3 FETCH (UID 3)")
	expect(t, two, "d STORE 3 +FLAGS.SILENT (\\Seen)")
	expect(t, two, "e FETCH 2 BODY[]")
	expect(t, two, "f UID FETCH 3 FLAGS", `* 3 FETCH (UID 3 FLAGS (\Seen))`, "* 2 EXPUNGE")
	expect(t, one, "d NOOP", `* 2 FETCH (UID 3 FLAGS (\Seen \Recent))`)
	if err := os.WriteFile(d.Path()+"/new/9.z", []byte("Subject: new\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, two, "g NOOP", "* 3 EXISTS", "* 1 RECENT")
	expect(t, one, "e CHECK", "* 3 EXISTS", "* 1 RECENT")
	expect(t, one, "f SEARCH RECENT", "* SEARCH 2")
	// Another program removes what another session is to read.
	if err := os.Remove(d.Path() + "/cur/9.z:2,"); err != nil {
		t.Fatal(err)
	}
	one.send("g FETCH 1:3 RFC822.SIZE")
	if got := one.until("g OK"); got[len(got)-1] != "g OK [EXPUNGEISSUED] some messages are gone" {
		t.Errorf("got %q", got)
	}
	expect(t, one, "h NOOP", "* 3 EXPUNGE")
}

// expect sends a command and compares the untagged lines before its OK.
func expect(t *testing.T, l *lines, command string, want ...string) {
	t.Helper()
	l.send("%s", command)
	got := l.until(command[:1] + " OK")
	got = got[:len(got)-1]
	ok := len(got) == len(want)
	for i := range got {
		if ok {
			prefix, cut := strings.CutSuffix(want[i], "...")
			ok = got[i] == want[i] || cut && strings.HasPrefix(got[i], prefix)
		}
	}
	if !ok {
		t.Errorf("%s: got %q, want %q", command, got, want)
	}
}

func TestIdle(t *testing.T) {
	d := makeBox(t, sample)
	conn, done := start(t, testConfig(d), Peer{Account: &Account{User: "alice", Dir: d}})
	l := &lines{t, conn, bufio.NewReader(conn)}
	l.until("* PREAUTH")
	l.send("a IDLE") // without a mailbox too
	l.until("+ idling")
	l.send("DONE")
	l.until("a OK")
	l.send("b SELECT INBOX")
	l.until("b OK")
	l.send("c IDLE")
	l.until("+ idling")
	if err := os.WriteFile(d.Path()+"/new/9.z", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.until("* 4 EXISTS")
	if err := os.Rename(d.Path()+"/cur/1.a:2,S", d.Path()+"/cur/1.a:2,FS"); err != nil {
		t.Fatal(err)
	}
	l.until(`* 1 FETCH (UID 1 FLAGS (\Flagged \Seen))`)
	if err := os.Remove(d.Path() + "/cur/1.a:2,FS"); err != nil {
		t.Fatal(err)
	}
	l.until("* 1 EXPUNGE")
	l.send("NONSENSE")
	l.until("c BAD DONE expected")
	l.send("d IDLE")
	l.until("+ idling")
	conn.Close()
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
}

// A mailbox that another one deletes, or replaces, ends the session.
func TestMailboxGone(t *testing.T) {
	for _, how := range []string{"deleted", "replaced"} {
		t.Run(how, func(t *testing.T) {
			d := makeBox(t, sample)
			conn, done := start(t, testConfig(d), Peer{Account: &Account{User: "alice", Dir: d}})
			l := &lines{t, conn, bufio.NewReader(conn)}
			l.until("* PREAUTH")
			l.send("a SELECT Other")
			l.until("a OK")
			var err error
			if how == "deleted" {
				err = os.RemoveAll(d.Path() + "/.Other")
			} else {
				err = errors.Join(
					os.WriteFile(d.Path()+"/.Other/dovecot-uidlist", []byte("3 V99 N5 G00112233445566778899aabbccddeeff\n"), 0o600),
					os.WriteFile(d.Path()+"/.Other/new/1.x", nil, 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			l.send("b NOOP")
			l.until("* BYE the mailbox is gone")
			if err := <-done; !errors.Is(err, errGone) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Silence ends a session: soon before a login, late after it. Failed logins wait, each longer.
func TestTimes(t *testing.T) {
	d := makeBox(t, sample)
	tests := []struct {
		name     string
		loggedIn bool
		send     string
		want     time.Duration
		answer   string
	}{
		{"nothing before a login", false, "", time.Minute, "* BYE nothing was heard for too long\r\n"},
		{"half a command before a login", false, "a LOG", readTimeout, "* BYE nothing was heard for too long\r\n"},
		{"nothing after a login", true, "", 30 * time.Minute, "* BYE nothing was heard for too long\r\n"},
		{"IDLE", true, "a IDLE\r\n", 30 * time.Minute, "+ idling\r\n* BYE nothing was heard for too long\r\n"},
		{"failed logins", false, "a LOGIN x y\r\nb LOGIN x y\r\nc LOGIN x y\r\n", (2 + 4 + 6) * time.Second,
			"a NO [AUTHENTICATIONFAILED] user or password is wrong\r\nb NO [AUTHENTICATIONFAILED] user or password is wrong\r\n" +
				"c NO [AUTHENTICATIONFAILED] user or password is wrong\r\n* BYE too many failed logins\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, p := testConfig(d), Peer{Trusted: true}
				cfg.FailDelay = 0 // the default
				if tt.loggedIn {
					own, err := maildir.OpenPath(d.Path())
					if err != nil {
						t.Fatal(err)
					}
					p.Account = &Account{User: "alice", Dir: own}
				}
				client, server := net.Pipe()
				begin := time.Now()
				go cfg.Serve(context.Background(), server, p)
				r := bufio.NewReader(client)
				if _, err := r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				go io.WriteString(client, tt.send)
				got, err := io.ReadAll(r)
				if took := time.Since(begin); string(got) != tt.answer || err != nil || took != tt.want {
					t.Errorf("got %q, %v after %v, want %q after %v", got, err, took, tt.answer, tt.want)
				}
			})
		})
	}
}

// A server that stops ends sessions between commands, in IDLE too, and lets a command come to its end.
func TestStopping(t *testing.T) {
	for _, doing := range []string{"waiting", "idle", "append"} {
		t.Run(doing, func(t *testing.T) {
			d := makeBox(t, sample)
			stop := make(chan struct{})
			conn, done := start(t, testConfig(d), Peer{Account: &Account{User: "alice", Dir: d}, Stopping: stop})
			l := &lines{t, conn, bufio.NewReader(conn)}
			l.until("* PREAUTH")
			switch doing {
			case "idle":
				l.send("a IDLE")
				l.until("+ idling")
			case "append":
				l.send("a APPEND INBOX {4}")
				l.until("+ go on")
			}
			close(stop)
			if doing == "append" {
				l.send("abcd")
				l.until("a OK")
			}
			l.until("* BYE the server is stopping")
			if err := <-done; err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestStartTLS(t *testing.T) {
	d := makeBox(t, sample)
	cfg := testConfig(d)
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	conn, _ := start(t, cfg, Peer{})
	l := &lines{t, conn, bufio.NewReader(conn)}
	l.until("* OK [CAPABILITY IMAP4rev1 LITERAL+ ID SASL-IR STARTTLS LOGINDISABLED]")
	l.send("a STARTTLS")
	l.until("a OK begin TLS now")
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	mailtest.Dialog(t, secure, `
		-> b CAPABILITY
		<- * CAPABILITY IMAP4rev1 LITERAL+ ID SASL-IR AUTH=PLAIN
		<- b OK CAPABILITY completed
		-> c STARTTLS
		<- c BAD TLS cannot be started
		-> d LOGIN alice secret
		<- d OK ...
		-> e STATUS INBOX (MESSAGES)
		<- * STATUS INBOX (MESSAGES 3)
		<- e OK STATUS completed
	`)
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A password is in no transcript, whichever way it comes; a message is not either.
func TestTranscript(t *testing.T) {
	d := makeBox(t, sample)
	var text strings.Builder
	cfg := testConfig(d)
	cfg.Trace = func(line string) { text.WriteString(line + "\n") }
	conn := &script{in: []string{"a LOGIN alice wrong-secret\r\na  login alice secret\r\nLOGIN alice secret\r\nb AUTHENTICATE PLAIN\r\nQUJD\r\nc LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n" +
		"e SELECT INBOX\r\nf FETCH 1 BODY[]\r\ng LOGOUT\r\n"}}
	if err := cfg.Serve(context.Background(), conn, Peer{Trusted: true}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"secret", "QUJD", "body one"} {
		if strings.Contains(text.String(), bad) {
			t.Errorf("%q is in\n%s", bad, text.String())
		}
	}
	for _, want := range []string{"-> a LOGIN ***\n", "-> f FETCH 1 BODY[]\n", "<- f OK FETCH completed\n", "<- g OK LOGOUT completed\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

// discard is a connection whose output is only counted.
type discard struct {
	script
	n int64
}

func (d *discard) Write(p []byte) (int, error) { d.n += int64(len(p)); return len(p), nil }

// A message of 20 MB is never in memory as a whole, whatever is asked of it.
func TestLargeMessageInBoundedMemory(t *testing.T) {
	line := strings.Repeat("x", 75) + "\n"
	text := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat(line, 20<<20/len(line)) + "--b--\n"
	d := makeBox(t, []txtar.File{{Name: "cur/1.a:2,", Data: []byte(text)}, {Name: ".Other/cur/.keep"}})
	text = ""
	conn := &discard{script: script{in: []string{"a SELECT INBOX\r\nb FETCH 1 (BODY[] BODY[1] BODY[]<19000000.1000000> BODYSTRUCTURE RFC822.SIZE)\r\n" +
		"c SEARCH TEXT nowhere\r\nd COPY 1 Other\r\ne LOGOUT\r\n"}}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := testConfig(d).Serve(context.Background(), conn, Peer{Account: &Account{Dir: d}}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if conn.n < 41<<20 {
		t.Errorf("only %d bytes were sent", conn.n)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}
