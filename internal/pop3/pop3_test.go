package pop3

import (
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
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pennypost/internal/maildir"
	"pennypost/internal/mailtest"
	"pennypost/internal/status"
)

// letters are the messages of newBox in their order: file below the Maildir, and content.
var letters = [][2]string{
	{"new/1.M1P1.h", "Subject: one\n\n.dot\n..two\n"},
	{"cur/2.M1P1.h,S=14,W=16:2,S", "Subject: two\n\n"},
	{"new/3.M1P1.h", "A: b\r\n\r\nx\r\nno end"},
	{"cur/4.M1P1.h:2,FS", ""},
}

func newBox(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range letters {
		if err := os.WriteFile(filepath.Join(dir, l[0]), []byte(l[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// files lists the messages as paths below the Maildir.
func files(t testing.TB, box string) string {
	t.Helper()
	var names []string
	for _, sub := range []string{"cur", "new", "tmp"} {
		found, _ := filepath.Glob(filepath.Join(box, sub, "*"))
		for _, f := range found {
			names = append(names, strings.TrimPrefix(f, box+"/"))
		}
	}
	return strings.Join(names, " ")
}

func open(t testing.TB, box string) *maildir.Dir {
	t.Helper()
	d, err := maildir.OpenPath(box)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// login lets alice in with the password "a secret".
func login(t testing.TB, box string) Login {
	return func(user, password string) (*maildir.Dir, error) {
		switch {
		case user == "busy":
			return nil, fmt.Errorf("lock: %w", ErrInUse)
		case user == "broken":
			return nil, errors.New("disk on fire")
		case user != "alice" || password != "a secret":
			return nil, status.Errorf(status.NoPerm, "wrong password")
		}
		return open(t, box), nil
	}
}

const loggedIn = `
<- +OK pennypost POP3 server ready
-> USER alice
<- +OK send PASS
-> PASS a secret
<- +OK 4 messages (62 octets)
`

// talk plays a dialog over a pipe in fake time, and returns what the session says of itself.
func talk(t *testing.T, o Options, script string) (sum Summary, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			sum, err = Serve(t.Context(), server, o)
			server.Close()
		}()
		defer func() {
			client.Close()
			<-done
		}()
		mailtest.Dialog(t, client, script)
	})
	return sum, err
}

func TestDialogs(t *testing.T) {
	tests := []struct{ name, script, left string }{
		{"retrieve", loggedIn + `
-> stat
<- +OK 4 62
-> LIST
<- +OK 4 messages (62 octets)
<- 1 29
<- 2 16
<- 3 17
<- 4 0
<- .
-> RETR 1
<- +OK 29 octets
<- Subject: one
<-
<- ..dot
<- ...two
<- .
-> RETR 3
<- +OK 17 octets
<- A: b
<-
<- x
<- no end
<- .
-> RETR 4
<- +OK 0 octets
<- .
-> TOP 1 0
<- +OK 29 octets
<- Subject: one
<-
<- .
-> TOP 1 1
<- +OK 29 octets
<- Subject: one
<-
<- ..dot
<- .
-> TOP 1 9223372036854775807
<- +OK 29 octets
<- Subject: one
<-
<- ..dot
<- ...two
<- .
-> NOOP
<- +OK nothing done
-> QUIT
<- +OK bye
<- EOF`, "cur/1.M1P1.h:2, cur/2.M1P1.h,S=14,W=16:2,S cur/3.M1P1.h:2, cur/4.M1P1.h:2,FS"},
		{"delete", loggedIn + `
-> DELE 2
<- +OK message 2 deleted
-> DELE 2
<- -ERR no such message
-> RETR 2
<- -ERR no such message
-> LIST 2
<- -ERR no such message
-> STAT
<- +OK 3 46
-> UIDL
<- +OK 3 messages (46 octets)
<- 1 1.M1P1.h
<- 3 3.M1P1.h
<- 4 4.M1P1.h
<- .
-> UIDL 3
<- +OK 3 3.M1P1.h
-> LIST 3
<- +OK 3 17
-> RSET
<- +OK 4 62
-> DELE 1
<- +OK message 1 deleted
-> DELE 4
<- +OK message 4 deleted
-> QUIT
<- +OK bye
<- EOF`, "cur/2.M1P1.h,S=14,W=16:2,S cur/3.M1P1.h:2,"},
		{"numbers", loggedIn + `
-> RETR 0
<- -ERR no such message
-> RETR 5
<- -ERR no such message
-> RETR -1
<- -ERR no such message
-> RETR 99999999999999999999
<- -ERR no such message
-> RETR x
<- -ERR no such message
-> RETR
<- -ERR usage: RETR msg
-> RETR 1 2
<- -ERR usage: RETR msg
-> TOP 1
<- -ERR usage: TOP msg n
-> TOP 1 -1
<- -ERR usage: TOP msg n
-> DELE
<- -ERR usage: DELE msg
-> STAT 1
<- -ERR usage: STAT`, ""},
		{"broken after DELE", loggedIn + `
-> DELE 1
<- +OK message 1 deleted
=> QUIT`, ""},
		{"states", `
<- +OK pennypost POP3 server ready
-> STAT
<- -ERR log in first
-> PASS a secret
<- -ERR give USER first
-> USER
<- -ERR usage: USER name
-> XYZ
<- -ERR unknown command
->
<- -ERR unknown command
=> USER a\x00b\r\n
<- -ERR control characters are not allowed
-> QUIT now
<- -ERR usage: QUIT
-> STLS
<- -ERR TLS is not available
-> CAPA
<- +OK capability list follows
<- TOP
<- UIDL
<- RESP-CODES
<- AUTH-RESP-CODE
<- PIPELINING
<- EXPIRE NEVER
<- USER
<- IMPLEMENTATION pennypost
<- .
-> QUIT
<- +OK bye
<- EOF`, ""},
		{"already logged in", loggedIn + `
-> USER alice
<- -ERR you are logged in already
-> STLS
<- -ERR you are logged in already
-> CAPA
<- +OK capability list follows
<- TOP
<- UIDL
<- RESP-CODES
<- AUTH-RESP-CODE
<- PIPELINING
<- EXPIRE NEVER
<- IMPLEMENTATION pennypost
<- .`, ""},
		{"wrong passwords", `
<- +OK pennypost POP3 server ready
-> USER alice
<- +OK send PASS
-> PASS a  secret
<- -ERR [AUTH] wrong name or password
-> PASS a secret
<- -ERR give USER first
-> USER bob
<- +OK send PASS
-> PASS x
<- -ERR [AUTH] wrong name or password
-> USER alice
<- +OK send PASS
-> PASS
<- -ERR usage: PASS string
-> PASS y
<- -ERR [AUTH] wrong name or password
<- EOF`, ""},
		{"trouble at login", `
<- +OK pennypost POP3 server ready
-> USER busy
<- +OK send PASS
-> PASS x
<- -ERR [IN-USE] mailbox is in use by another session
-> USER broken
<- +OK send PASS
-> PASS x
<- -ERR [SYS/TEMP] mailbox cannot be read now, try again later
-> QUIT
<- +OK bye
<- EOF`, ""},
		{"pipelining", `
<- +OK pennypost POP3 server ready
=> USER alice\r\nPASS a secret\r\nSTAT\r\nLIST 1\nQUIT\r\nSTAT\r\n
<- +OK send PASS
<- +OK 4 messages (62 octets)
<- +OK 4 62
<- +OK 1 29
<- +OK bye
<- EOF`, "cur/1.M1P1.h:2, cur/2.M1P1.h,S=14,W=16:2,S cur/3.M1P1.h:2, cur/4.M1P1.h:2,FS"},
		{"long lines", `
<- +OK pennypost POP3 server ready
-> USER ` + strings.Repeat("x", maxLine-5) + `
<- +OK send PASS
-> USER ` + strings.Repeat("x", maxLine-4) + `
<- -ERR line too long
-> USER ` + strings.Repeat("x", 20000) + `
<- -ERR line too long
-> QUIT
<- +OK bye
<- EOF`, ""},
		{"too many errors", `
<- +OK pennypost POP3 server ready` + strings.Repeat("\n-> X\n<- -ERR unknown command", maxErrors-1) + `
-> X
<- -ERR unknown command; too many errors
<- EOF`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			box := newBox(t)
			if tt.left == "" {
				tt.left = files(t, box)
			}
			talk(t, Options{Login: login(t, box), Plaintext: true}, tt.script)
			if got := files(t, box); got != tt.left {
				t.Errorf("mailbox holds %q, want %q", got, tt.left)
			}
		})
	}
}

func TestNoPasswordInTheClear(t *testing.T) {
	talk(t, Options{Login: login(t, newBox(t))}, `
<- +OK pennypost POP3 server ready
-> USER alice
<- -ERR passwords are only taken over TLS
-> PASS a secret
<- -ERR passwords are only taken over TLS
-> QUIT
<- +OK bye
<- EOF`)
}

func TestKnownUserNeedsNoLogin(t *testing.T) {
	sum, err := talk(t, Options{Maildir: open(t, newBox(t))}, `
<- +OK pennypost POP3 server ready
-> RETR 2
<- +OK 16 octets
<- Subject: two
<-
<- .
-> DELE 2
<- +OK message 2 deleted
-> QUIT
<- +OK bye
<- EOF`)
	if want := (Summary{Retrieved: 1, Removed: 1, Quit: true}); err != nil || sum != want {
		t.Errorf("got %+v, %v, want %+v", sum, err, want)
	}
}

func TestMessageRemovedMeanwhile(t *testing.T) {
	box := newBox(t)
	d := open(t, box)
	client, server := net.Pipe()
	go func() {
		Serve(context.Background(), server, Options{Maildir: d})
		server.Close()
	}()
	mailtest.Dialog(t, client, "<- +OK pennypost POP3 server ready")
	if err := os.Remove(filepath.Join(box, letters[1][0])); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(box, "new/1.M1P1.h"), filepath.Join(box, "cur/1.M1P1.h:2,R")); err != nil {
		t.Fatal(err)
	}
	mailtest.Dialog(t, client, `
-> RETR 2
<- -ERR [SYS/TEMP] message cannot be read now
-> DELE 2
<- +OK message 2 deleted
-> TOP 1 0
<- +OK 29 octets
<- Subject: one
<-
<- .
-> DELE 1
<- +OK message 1 deleted
-> QUIT
<- +OK bye
<- EOF`)
	if got, want := files(t, box), "cur/3.M1P1.h:2, cur/4.M1P1.h:2,FS"; got != want {
		t.Errorf("mailbox holds %q, want %q", got, want)
	}
}

func TestQuitTellsOfTrouble(t *testing.T) {
	box := newBox(t)
	d := open(t, box)
	client, server := net.Pipe()
	go func() {
		Serve(context.Background(), server, Options{Maildir: d})
		server.Close()
	}()
	mailtest.Dialog(t, client, "<- +OK pennypost POP3 server ready")
	// A directory that is not empty now has the name of the message.
	name := filepath.Join(box, letters[3][0])
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(name, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	mailtest.Dialog(t, client, `
-> DELE 1
<- +OK message 1 deleted
-> DELE 4
<- +OK message 4 deleted
-> QUIT
<- -ERR [SYS/TEMP] some deleted messages not removed
<- EOF`)
	if got, want := files(t, box), "cur/2.M1P1.h,S=14,W=16:2,S cur/3.M1P1.h:2, cur/4.M1P1.h:2,FS"; got != want {
		t.Errorf("mailbox holds %q, want %q", got, want)
	}
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		start := time.Now()
		done := make(chan error, 1)
		defer client.Close()
		go func() {
			_, err := Serve(t.Context(), server, Options{Login: login(t, ""), Plaintext: true})
			server.Close()
			done <- err
		}()
		mailtest.Dialog(t, client, `
<- +OK pennypost POP3 server ready
-> USER a
<- +OK send PASS
-> PASS b
<- -ERR [AUTH] wrong name or password
-> USER a
<- +OK send PASS
-> PASS b
<- -ERR [AUTH] wrong name or password`)
		if got, want := time.Since(start), 3*loginDelay; got != want {
			t.Errorf("two wrong passwords took %v, want %v", got, want)
		}
		start = time.Now()
		if err := <-done; err == nil || time.Since(start) != idleTime {
			t.Errorf("idle session ended with %v after %v, want an error after %v", err, time.Since(start), idleTime)
		}
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	box := newBox(t)
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		start := time.Now()
		_, err := Serve(t.Context(), server, Options{Maildir: open(t, box)})
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "send") || time.Since(start) != idleTime {
			t.Errorf("got %v after %v, want a time-out after %v", err, time.Since(start), idleTime)
		}
		client.Close()
	})
}

func TestTrace(t *testing.T) {
	var lines []string
	box := newBox(t)
	talk(t, Options{Login: login(t, box), Plaintext: true, Trace: func(l string) { lines = append(lines, l) }}, loggedIn+`
-> PASSS hunter2
<- -ERR unknown command
-> RETR 2
<- +OK 16 octets
<- Subject: two
<-
<- .
-> QUIT
<- +OK bye
<- EOF`)
	want := []string{"<- +OK pennypost POP3 server ready", "-> USER alice", "<- +OK send PASS", "-> PASS ***",
		"<- +OK 4 messages (62 octets)", "-> PASSS ***", "<- -ERR unknown command", "-> RETR 2", "<- +OK 16 octets",
		"# 14 octets", "-> QUIT", "<- +OK bye"}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1000, 0, 0), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestSTLS(t *testing.T) {
	box := newBox(t)
	client, server := net.Pipe()
	done := make(chan error)
	go func() {
		_, err := Serve(context.Background(), server, Options{Login: login(t, box), TLS: testTLS(t)})
		server.Close()
		done <- err
	}()
	mailtest.Dialog(t, client, `
<- +OK pennypost POP3 server ready
-> USER alice
<- -ERR give STLS before a password
-> CAPA
<- +OK capability list follows
<- TOP
<- UIDL
<- RESP-CODES
<- AUTH-RESP-CODE
<- PIPELINING
<- EXPIRE NEVER
<- STLS
<- IMPLEMENTATION pennypost
<- .
-> STLS
<- +OK begin TLS`)
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	mailtest.Dialog(t, c, `
-> STLS
<- -ERR TLS is not available
-> USER alice
<- +OK send PASS
-> PASS a secret
<- +OK 4 messages (62 octets)
-> QUIT
<- +OK bye`)
	// A pipe passes nothing on before it is read: the end of the session waits for the reader.
	go io.Copy(io.Discard, client)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What stands behind STLS in the same packet must not become a command of the encrypted session.
func TestSTLSWithInjectedCommand(t *testing.T) {
	client, server := net.Pipe()
	done := make(chan error)
	go func() {
		_, err := Serve(context.Background(), server, Options{Login: login(t, newBox(t)), TLS: testTLS(t)})
		server.Close()
		done <- err
	}()
	mailtest.Dialog(t, client, `
<- +OK pennypost POP3 server ready
=> STLS\r\nUSER alice\r\nPASS a secret\r\nSTAT\r\n
<- +OK begin TLS`)
	rest, _ := io.ReadAll(client)
	if err := <-done; err == nil || bytes.Contains(rest, []byte("+OK")) {
		t.Errorf("got %v and %q, want a failed handshake", err, rest)
	}
}

func TestUniqueID(t *testing.T) {
	long := strings.Repeat("x", maxUID)
	for key, want := range map[string]string{
		"1.M2P3.host":             "1.M2P3.host",
		"1.M2P3.host,S=12,W=14":   "1.M2P3.host",
		"1.M2P3.host,W=14":        "1.M2P3.host",
		"1.host,S=12,U=7,W=14":    "1.host,U=7",
		"1.host,S=x,W=,S=1a":      "1.host,S=x,W=,S=1a",
		long:                      long,
		long + ",S=1":             long,
		long + "x":                hashID(long + "x"),
		"with blank":              hashID("with blank"),
		"caf\xc3\xa9,S=3":         hashID("caf\xc3\xa9"),
		",S=1":                    hashID(""),
		"bell\x07":                hashID("bell\x07"),
		"1.host,S=12,W=14,a=b,S=": "1.host,a=b,S=",
	} {
		got := uniqueID(key)
		if got != want {
			t.Errorf("uniqueID(%q): got %q, want %q", key, got, want)
		}
		if len(got) > maxUID {
			t.Errorf("uniqueID(%q) has %d bytes", key, len(got))
		}
	}
}

func TestUniqueIDsAreUnique(t *testing.T) {
	box := newBox(t)
	for _, name := range []string{"cur/5.h,S=1:2,", "cur/5.h,S=2:2,", "new/5.h"} {
		if err := os.WriteFile(filepath.Join(box, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, box)
	defer d.Close()
	m, err := openDrop(d)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, it := range m.items {
		if seen[it.uid] || it.uid == "5.h" {
			t.Errorf("unique-id %q of %q is not unique", it.uid, it.entry.Name)
		}
		seen[it.uid] = true
	}
	if len(seen) != 7 {
		t.Errorf("got %d messages, want 7", len(seen))
	}
}

var quiet = slog.New(slog.DiscardHandler)

// script is a connection that reads from r and keeps what is written.
type script struct {
	net.Conn
	r   io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.r.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// play runs a session on a fresh mailbox and returns its output and the files left.
func play(t *testing.T, in io.Reader) (string, string) {
	t.Helper()
	box := newBox(t)
	c := &script{r: in}
	s := &session{ctx: t.Context(), o: Options{Login: login(t, box), Plaintext: true, Log: quiet}}
	if _, err := s.serve(c); err != nil {
		t.Error(err)
	}
	return c.out.String(), files(t, box)
}

func FuzzSession(f *testing.F) {
	const in = "USER alice\r\nPASS a secret\r\n"
	for _, s := range []string{"", "QUIT\r\n", in + "STAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n", in + "LIST\nUIDL\nTOP 1 1\n", in + "DELE 1\r\nRSET\r\nDELE 2\r\nQUIT",
		"\r\n\r\r\n\x00\n", strings.Repeat("x", 300) + "\r\n", "USER bob\r\nPASS x\r\n", "capa\r\nstls\r\nCAPA\r\n", in + strings.Repeat("X\n", 30)} {
		f.Add([]byte(s), 7)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		out, left := play(t, bytes.NewReader(in))
		if cut = max(0, min(cut, len(in))); cut > 0 {
			split, splitLeft := play(t, io.MultiReader(bytes.NewReader(in[:cut]), bytes.NewReader(in[cut:])))
			if split != out || splitLeft != left {
				t.Errorf("split at %d: got %q, %q, want %q, %q", cut, split, splitLeft, out, left)
			}
		}
		if slow, slowLeft := play(t, iotest.OneByteReader(bytes.NewReader(in))); slow != out || slowLeft != left {
			t.Errorf("byte by byte: got %q, %q, want %q, %q", slow, slowLeft, out, left)
		}
		before := files(t, newBox(t))
		if !strings.Contains(out, "+OK bye\r\n") && left != before {
			t.Errorf("without QUIT the mailbox changed to %q", left)
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"", " ", "USER a b", "pass  x ", "TOP 1  2 ", "STAT\x00", "RETR 1\t", "LIST \xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		verb, arg, err := parse(line)
		c := commands[verb]
		if err != nil || c == nil {
			return
		}
		args, ok := c.split(arg)
		if !ok {
			return
		}
		again := verb + " " + strings.Join(args, " ")
		verb2, arg2, err := parse([]byte(again))
		args2, ok := c.split(arg2)
		if verb2 != verb || err != nil || !ok || strings.Join(args2, "|") != strings.Join(args, "|") {
			t.Errorf("%q: %q %q, printed and parsed again: %q %q %v", line, verb, args, verb2, args2, err)
		}
		if len(args) < c.min || len(args) > max(c.max, c.min) {
			t.Errorf("%q: %d arguments", line, len(args))
		}
	})
}

// Whatever a message holds, the client gets it back with CRLF line ends, in as many octets as STAT said.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", ".", "..\n.", "a\r\n.\r\n", "a\rb\r", "\n\n.x\n", "A: b\n\n" + strings.Repeat("x", 70000) + "\r\n."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &script{}
		s := &session{o: Options{Log: quiet}}
		s.attach(c)
		n, err := writeText(s.w, iotest.HalfReader(bytes.NewReader(b)), -1)
		s.w.Flush()
		if err != nil || n != int64(len(b)) {
			t.Fatalf("took %d bytes of %d: %v", n, len(b), err)
		}
		text, ended := strings.CutSuffix("\r\n"+c.out.String(), "\r\n.\r\n")
		if !ended || strings.Contains(text+"\r\n", "\r\n.\r\n") {
			t.Fatalf("the dot is not at the end, or not only there: %q", text)
		}
		got := strings.TrimPrefix(strings.ReplaceAll(text, "\r\n.", "\r\n"), "\r\n")
		want := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n")
		if strings.TrimSuffix(want, "\r\n") != got {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
