package delivery

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// deliverTo delivers text and returns where it went, below the office and without the file names. It compares that with what
// Explain says beforehand.
func deliverTo(t *testing.T, o *postoffice.Office, text, sender, to string, opt Options) string {
	t.Helper()
	told := explained(t, o, text, sender, to, opt)
	var went, queued []string
	opt.Placed = func(path string) { went = append(went, shortened(t, o, path)) }
	if put := opt.Forward; put != nil {
		opt.Forward = func(ctx context.Context, m *message.Message, e *envelope.Envelope) error {
			for _, r := range e.Recipients {
				queued = append(queued, e.Sender.Path()+" "+r.String())
			}
			return put(ctx, m, e)
		}
	}
	result := ""
	if err := Deliver(context.Background(), o.Lookup, message.Bytes([]byte(text)), newEnvelope(t, sender, to), opt); err != nil {
		result = "error " + status.Of(err).Line()
	} else {
		slices.Sort(went)
		result = strings.Join(went, " ")
	}
	checkTold(t, told, result, queued)
	return result
}

// shortened is a path below the office; of a message in a Maildir without its name but for the flags.
func shortened(t *testing.T, o *postoffice.Office, path string) string {
	t.Helper()
	rel, err := filepath.Rel(o.Root().Name(), path)
	if err != nil {
		t.Fatal(err)
	}
	if dir, file := filepath.Split(rel); strings.Contains(file, ",S=") {
		rel = dir
		if _, flags, ok := strings.Cut(file, ":2,"); ok {
			rel += flags
		}
	}
	return rel
}

// own gives alice's home to somebody who may run commands when the test is run by root.
func own(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, 65534, 65534)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// queue is what would be forwarded: sender, recipients, and the message.
type queue struct{ list []string }

func (q *queue) put(_ context.Context, m *message.Message, e *envelope.Envelope) error {
	text, err := io.ReadAll(m.Reader())
	line := e.Sender.Path()
	for _, r := range e.Recipients {
		line += " " + r.String()
	}
	q.list = append(q.list, line+"\n"+string(text))
	return err
}

func TestInstructionsAreCarriedOut(t *testing.T) {
	const from, to = "s@example.net", "alice@example.org"
	for _, c := range []struct {
		name  string
		files []string // of alice's home, NAME=TEXT
		to    string
		want  string // places, or the start of the error
		queue string // first lines of what was forwarded
	}{
		{"none", nil, to, "example.org/alice/Maildir/new/", ""},
		{"two and an mbox", []string{".qmail=./box\n./A/\n./A/.B/\n./A/\n"}, to,
			"example.org/alice/A/.B/new/ example.org/alice/A/new/ example.org/alice/box", ""},
		{"thrown away", []string{".qmail=#\n"}, to, "", ""},
		{"command", []string{".qmail=|cat >got\n./A/"}, to, "example.org/alice/A/new/", ""},
		{"99 leaves the rest out", []string{".qmail=&b@example.com\n./A/\n|exit 99\n./B/\n&c@example.com\n"}, to,
			"example.org/alice/A/new/", "<s@example.net> b@example.com"},
		{"100 refuses", []string{".qmail=./A/\n|echo '550 5.7.1 go away' >&2; exit 100\n"}, to, "error 550 5.7.1 go away", ""},
		{"111 waits", []string{".qmail=./A/\n&b@example.com\n|exit 111\n"}, to, "error 451 ", ""},
		{"67 refuses", []string{".qmail=|exit 67\n"}, to, "error 550 5.1.1", ""},
		{"64 waits", []string{".qmail=|exit 64\n"}, to, "error 451 4.3.5", ""},
		{"killed", []string{".qmail=|kill -9 $$\n"}, to, "error 451 4.3.0", ""},
		{"forwards go together", []string{".qmail=&b@example.com\n./A/\nc@example.com\n"}, to, "example.org/alice/A/new/",
			"<s@example.net> b@example.com c@example.com"},
		{"owner", []string{".qmail-l=&b@example.com", ".qmail-l-owner=./A/"}, "alice-l@example.org", "",
			"<alice-l-owner@example.org> b@example.com"},
		{"owner of a default", []string{".qmail-default=&b@example.com", ".qmail-l-owner=#"}, "alice-l@example.org", "",
			"<alice-l-owner@example.org> b@example.com"},
		{"verp", []string{".qmail-l=&b@example.com\n&c@example.com", ".qmail-l-owner=#", ".qmail-l-owner-default=#"}, "alice+l@example.org", "",
			"<alice+l-owner-b=example.com@example.org> b@example.com|<alice+l-owner-c=example.com@example.org> c@example.com"},
		{"absolute", []string{".qmail=/tmp/x/\n"}, to, "error 451 4.3.5 deliver to <alice@example.org>: example.org/alice/.qmail line 1: an absolute path", ""},
		{"a folder that is a link out", []string{".qmail=./out/\n"}, to, "error 451", ""},
		{"no name of a folder", []string{".qmail=./A/\n./A/.R&D/\n"}, to,
			"error 451 4.3.5 deliver to <alice@example.org>: example.org/alice/.qmail line 2: \"./A/.R&D/\": folder \"R&D\"", ""},
		{".forward", []string{".forward=\\alice, b@example.com\n"}, to, "example.org/alice/Maildir/new/", "<s@example.net> b@example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			names := []string{"example.org/alice"}
			for _, f := range c.files {
				names = append(names, "example.org/alice/"+f)
			}
			o, dir := newOffice(t, names...)
			if err := os.Symlink("/tmp", filepath.Join(dir, "example.org/alice/out")); err != nil {
				t.Fatal(err)
			}
			own(t, dir)
			var q queue
			opt := Options{Forward: q.put}
			got := deliverTo(t, o, "Subject: x\n\nbody\n", from, c.to, opt)
			if got != c.want && !(c.want != "" && strings.HasPrefix(got, "error") && strings.HasPrefix(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			var heads []string
			for _, f := range q.list {
				head, text, _ := strings.Cut(f, "\n")
				heads = append(heads, head)
				if want := "Delivered-To: " + c.to + "\nSubject: x\n\nbody\n"; text != want {
					t.Errorf("forwarded %q, want %q", text, want)
				}
			}
			if got := strings.Join(heads, "|"); got != c.queue {
				t.Errorf("forwarded %q, want %q", got, c.queue)
			}
		})
	}
}

// What qmail-command(8) promises a command.
func TestCommandEnvironment(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice/.qmail-a-default=|env >env; cat >in; pwd >pwd\n")
	own(t, dir)
	t.Setenv("SECRET", "x")
	got := deliverTo(t, o, "Subject: x\n\nbody\n", "s@example.net", "alice-a-b-c.d@example.org", Options{})
	if got != "" {
		t.Fatal(got)
	}
	home := filepath.Join(dir, "example.org/alice")
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(home, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	env := "\n" + read("env")
	for _, want := range []string{"SENDER=s@example.net", "NEWSENDER=s@example.net", "RECIPIENT=alice-a-b-c.d@example.org",
		"USER=alice", "HOME=" + home, "HOST=example.org", "HOST2=example", "LOCAL=alice-a-b-c.d", "EXT=a-b-c.d", "EXT2=b-c.d",
		"EXT3=c.d", "EXT4=", "DEFAULT=b-c.d", "DTLINE=Delivered-To: alice-a-b-c.d@example.org\n",
		"RPLINE=Return-Path: <s@example.net>\n", "UFLINE=From s@example.net "} {
		if !strings.Contains(env, "\n"+want) {
			t.Errorf("no %q in %s", want, env)
		}
	}
	if strings.Contains(env, "SECRET=") {
		t.Error("the environment of the server got through")
	}
	if read("in") != "Subject: x\n\nbody\n" || strings.TrimSpace(read("pwd")) != home {
		t.Errorf("message %q in %q", read("in"), read("pwd"))
	}
}

func TestNoCommandAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root could")
	}
	o, dir := newOffice(t, "example.org/alice/.qmail=./A/\n|touch ran\n")
	got := deliverTo(t, o, "x\n", "", "alice@example.org", Options{})
	if _, err := os.Stat(filepath.Join(dir, "example.org/alice/ran")); err == nil || !strings.HasPrefix(got, "error 451 4.3.5") {
		t.Errorf("got %q, %v", got, err)
	}
}

// Nothing becomes visible when the queue refuses.
func TestForwardFails(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice/.qmail=./A/\n./box\n&b@example.com\n", "example.org/alice/box=")
	opt := Options{Forward: func(context.Context, *message.Message, *envelope.Envelope) error { return errors.New("disk on fire") }}
	got := deliverTo(t, o, "x\n", "", "alice@example.org", opt)
	if !strings.HasPrefix(got, "error 451 ") || !strings.Contains(got, "disk on fire") {
		t.Errorf("got %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "example.org/alice/box")); len(b) > 0 || err != nil {
		t.Errorf("the mbox has %q, %v", b, err)
	}
	if files := found(t, dir); len(files) > 0 {
		t.Errorf("files %v", files)
	}
}

func TestFolderFlagsKeywords(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice")
	opt := Options{Rules: []Rule{{Folder: "Archive.2026", Flags: "SF", Keywords: []string{"list", "work"}}}}
	for range 2 {
		if got, want := deliverTo(t, o, "x\n", "", "alice@example.org", opt), "example.org/alice/Maildir/.Archive.2026/cur/FSab"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "example.org/alice/Maildir/.Archive.2026/dovecot-keywords"))
	if err != nil || string(b) != "0 list\n1 work\n" {
		t.Errorf("keywords %q, %v", b, err)
	}
	for _, name := range []string{"../x", "a/b", "a..b", ".a", "a\n", strings.Repeat("x", 300), "R&D", "&AC8-", "\xff"} {
		got := deliverTo(t, o, "x\n", "", "alice@example.org", Options{Rules: []Rule{{Folder: name}}})
		if !strings.HasPrefix(got, "error 451 4.3.5 deliver to <alice@example.org>: the command line: folder ") {
			t.Errorf("folder %q: %s", name, got)
		}
	}
}

// A folder has one name on disk, however it is written, unless a program that writes UTF-8 has made it.
func TestFolderOfOtherLetters(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice")
	put := func(name string) string {
		return deliverTo(t, o, "x\n", "", "alice@example.org", Options{Rules: []Rule{{Folder: name}}})
	}
	for _, name := range []string{"Entw&APw-rfe", "Entwürfe"} {
		if got, want := put(name), "example.org/alice/Maildir/.Entw&APw-rfe/new/"; got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "example.org/alice/Maildir/.Gelöscht", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := put("Gelöscht"), "example.org/alice/Maildir/.Gelöscht/new/"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A domain's .qmail-default may have instructions of its own.
func TestCatchAllInstructions(t *testing.T) {
	o, _ := newOffice(t, "example.org/alice", "example.org/.qmail-default=&b@example.com\n./alice/Maildir/\n")
	var q queue
	got := deliverTo(t, o, "x\n", "s@example.net", "nobody@example.org", Options{Forward: q.put})
	if got != "example.org/alice/Maildir/new/" || len(q.list) != 1 || !strings.HasPrefix(q.list[0], "<s@example.net> b@example.com\n") {
		t.Errorf("got %q, %q", got, q.list)
	}
}

func TestToHome(t *testing.T) {
	home, elsewhere := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".qmail-lists"), []byte("./Lists/\n"+elsewhere+"/box\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	find := func(a envelope.Address) (*postoffice.Mailbox, error) { return postoffice.OpenHome(home, a) }
	e := newEnvelope(t, "s@example.net", "alice+lists@example.org")
	if err := deliverTruly(t, find, message.Bytes([]byte("x\n")), e, Options{}); err != nil {
		t.Fatal(err)
	}
	if len(found(t, home)) != 1 || len(readMbox(t, filepath.Join(elsewhere, "box"))) != 1 {
		t.Errorf("files %v", found(t, home))
	}
}
