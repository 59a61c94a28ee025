package pop3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
