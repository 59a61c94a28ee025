package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// head is what some servers put there when it is missing.
const head = "Date: Tue, 24 Nov 2026 12:00:00 +0000\nFrom: a@example.com\nMessage-ID: <1@example.com>\n"

// letters must come as they are through all programs that call deliver. They end in a newline, as on any way by SMTP or POP3.
var letters = map[string]string{
	"dots":      head + "Subject: dots\n\n.\n..\n.x\nx\n.\n\n",
	"8 bit":     head + "Subject: caf\xc3\xa9\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nb\xf6dy \xff\n",
	"long line": head + "Subject: long\n\n" + strings.Repeat("x", 900) + "\n." + strings.Repeat("y", 899) + "\n",
	"From":      head + "Subject: From\n\nFrom here\n>From there\n\n\n",
	"folded":    head + "TO: undisclosed-recipients:;\nSubject: folded\n\tonce  and\n  again\n\nend\n",
	"100 kB":    head + "Subject: big\n\n" + strings.Repeat("a line of some length that tells nothing\n.\n", 100<<10/43),
}

// dropin is a file of examples/dropin with the places of a test in it, in a directory that others can pass through.
func dropin(t *testing.T, name string, places ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "dropin", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(places); i += 2 {
		if !strings.Contains(string(text), places[i]) {
			t.Fatalf("%s has no %q", name, places[i])
		}
	}
	file := filepath.Join(mailtest.Passable(t), name)
	if err := os.WriteFile(file, []byte(strings.NewReplacer(places...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// nobody is who runs commands for a test that is root.
const nobody = 65534

// passableOffice is newOffice for programs that give up being root, or are made to: then alice's mailbox belongs to nobody.
func passableOffice(t *testing.T) (dir, box string) {
	t.Helper()
	dir = mailtest.Passable(t)
	box = filepath.Join(dir, "example.org", "alice")
	if err := os.MkdirAll(box, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(box, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir, box
}

// checkLetters wants the letters in box, each once, unchanged below what was added on top.
func checkLetters(t *testing.T, box string) {
	t.Helper()
	got := messages(t, box)
	if len(got) != len(letters) {
		t.Errorf("%d messages, want %d", len(got), len(letters))
	}
	for name, text := range letters {
		if !slices.ContainsFunc(got, func(m []byte) bool { return strings.HasSuffix(string(m), "\n"+text) }) {
			t.Errorf("no message %q as it was sent", name)
		}
	}
	for _, m := range got {
		if !strings.HasPrefix(string(m), "Return-Path: <") || strings.Count(string(m), "\nDelivered-To: alice@example.org\n") != 1 {
			t.Errorf("wrong lines on top: %.200q", m)
		}
	}
}

// A mailbox that popd serves to a fetching program, with one letter in it.
type fetched struct{ home, port, box string }

func newFetched(t *testing.T) *fetched {
	t.Helper()
	bin, f := mailtest.Build(t, "popd"), &fetched{home: mailtest.Passable(t), port: mailtest.FreePort(t)}
	f.box = filepath.Join(f.home, "example.com/alice/Maildir")
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(f.box, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	f.put(t, map[string]string{"dots": letters["dots"]})
	passwd := exec.Command(filepath.Join(bin, "popd"), "passwd", "--office", f.home, "alice@example.com")
	passwd.Stdin = strings.NewReader("secret\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("popd passwd: %v: %s", err, out)
	}
	mailtest.Follow(t, exec.Command(filepath.Join(bin, "popd"), "--office", f.home, "--listen", "127.0.0.1:"+f.port))
	mailtest.Listens(t, f.port)
	return f
}

// put adds letters that are not there yet.
func (f *fetched) put(t *testing.T, letters map[string]string) {
	t.Helper()
	for name, text := range letters {
		if there, _ := filepath.Glob(filepath.Join(f.box, "[nc][eu][wr]", "*."+name+"*")); len(there) > 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(f.box, "new", "1."+name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// left is how many letters are still there.
func (f *fetched) left() int {
	names, _ := filepath.Glob(filepath.Join(f.box, "[nc][eu][wr]", "*"))
	return len(names)
}

// fetchers are the programs that fetch mail and give it to deliver, with what a test changes in their examples: the server
// of a test has no TLS, and the tests are root where others are not.
var fetchers = []struct {
	name, example string
	places        []string // beside those that all have
	args          []string // FILE is the example, DIR a directory
	exit          int      // when deliver fails
}{
	{"fetchmail", "fetchmailrc", []string{" ssl\n", " sslproto ''\n", "protocol pop3\n", "protocol pop3 service PORT\n"},
		[]string{"--nosyslog", "-f", "FILE", "--pidfile", "DIR/pid"}, 0},
	{"getmail", "getmailrc", []string{"SimplePOP3SSLRetriever", "SimplePOP3Retriever", "port = 995", "port = PORT",
		"type = MDA_external\n", "type = MDA_external\nallow_root_commands = true\n"},
		[]string{"--getmaildir", "DIR", "--rcfile", "FILE"}, 127},
	{"fdm", "fdm.conf", []string{"pop3s", "pop3", "port 995", "port PORT", "set no-received\n", "set no-received\nset lock-file \"DIR/lock\"\n"},
		[]string{"-u", "root", "-f", "FILE", "fetch"}, 0},
}

// What deliver does not take stays on the server, and is fetched when the trouble is over.
func TestFetchersDeliver(t *testing.T) {
	for _, f := range fetchers {
		t.Run(f.name, func(t *testing.T) {
			program := mailtest.Peer(t, f.name)
			from, bin, dir := newFetched(t), mailtest.Build(t, "deliver"), t.TempDir()
			office, box := passableOffice(t)
			places := strings.Split(strings.NewReplacer("PORT", from.port, "DIR", dir).Replace(strings.Join(f.places, "\x00")), "\x00")
			file := dropin(t, f.example, append(places, "/usr/local/bin/deliver", bin+"/deliver", "/srv/mail", office, "pop.example.com", "127.0.0.1")...)
			fetch := func() (string, int) {
				args := strings.Split(strings.NewReplacer("FILE", file, "DIR", dir).Replace(strings.Join(f.args, "\x00")), "\x00")
				cmd := exec.Command(program, args...)
				cmd.Env = append(os.Environ(), "HOME="+dir)
				out, _ := cmd.CombinedOutput()
				return string(out), cmd.ProcessState.ExitCode()
			}
			if err := os.Chmod(box, 0o700|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
			out, exit := fetch()
			if exit != f.exit || !strings.Contains(out, "sticky bit") || from.left() != 1 || len(messages(t, box)) != 0 {
				t.Fatalf("mail on hold: exit %d, %d letters left: %s", exit, from.left(), out)
			}
			if err := os.Chmod(box, 0o700); err != nil {
				t.Fatal(err)
			}
			from.put(t, letters)
			for range 2 { // the second has nothing to do; fetchmail exits 1 then
				if out, exit = fetch(); exit > 1 {
					t.Fatalf("exit %d: %s", exit, out)
				}
			}
			if from.left() != 0 {
				t.Errorf("%d letters left: %s", from.left(), out)
			}
			checkLetters(t, box)
		})
	}
}

// A .qmail runs deliver, whose status says what becomes of the mail.
func TestDotQmailRunsDeliver(t *testing.T) {
	bin := mailtest.Build(t, "deliver")
	office, box := passableOffice(t)
	example, err := os.ReadFile(dropin(t, "dot-qmail", "/usr/local/bin/deliver", bin+"/deliver"))
	if err != nil {
		t.Fatal(err)
	}
	qmail := func(text string) {
		if err := os.WriteFile(filepath.Join(box, ".qmail"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	qmail(string(example))
	outer := func(letter string, args ...string) (string, int) {
		cmd := exec.Command(filepath.Join(bin, "deliver"), append([]string{"--office", office, "-f", "a@example.com", "alice@example.org"}, args...)...)
		cmd.Stdin = strings.NewReader(letter)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, text := range letters {
		if out, exit := outer(text); exit != 0 || out != "" {
			t.Errorf("exit %d: %s", exit, out)
		}
	}
	checkLetters(t, box)
	if out, exit := outer("List-Id: <golang.example.com>\nSubject: list\n\n"); exit != 0 {
		t.Errorf("list: exit %d: %s", exit, out)
	}
	if names, _ := filepath.Glob(filepath.Join(box, "Maildir/.Lists.Go/new/*")); len(names) != 1 {
		t.Errorf("in the folder: %q", names)
	}
	if out, exit := outer("Delivered-To: alice@example.org\n\n"); exit != 100 || !strings.Contains(out, "mail loop") {
		t.Errorf("loop: exit %d: %s", exit, out)
	}
	qmail(strings.Replace(string(example), "./Maildir", "./no/Maildir", 1))
	if out, exit := outer(letters["dots"]); exit != 75 && exit != 111 || !strings.HasPrefix(out, "4") {
		t.Errorf("no directory: exit %d: %s", exit, out)
	}
}
