package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/mbox"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]string{
		"maildir:In":         "maildir:In",
		"mbox:/var/mail/bob": "mbox:/var/mail/bob",
		"maildir:./In/":      "maildir:In",
		"mbox:C:odd":         "mbox:C:odd",
		"maildir:In/.R&-D":   "maildir:In/.R&-D",
		"maildir:In/.R&D/":   "",
		"mh:In/.R&D":         "mh:In/.R&D",
		"mbox:":              "",
		"maildir":            "",
		"mh:In/":             "mh:In",
		"mh:":                "",
		"-":                  "stdout:-",
		"|cat":               "command:cat",
		"| ":                 "",
		"lmtp://h:24":        "lmtp:lmtp://h:24",
		"lmtp+unix:///run/x": "lmtp:lmtp+unix:///run/x",
		"lmtp:h":             "",
		"lmtp+unix://h/x":    "",
		"smtp://h":           "",
		"In":                 "",
		"":                   "",
		"mbox:a\x00b":        "",
		"bob@example.org":    "forward:bob@example.org",
		"<bob@Example.org>":  "forward:bob@example.org",
		"bob@":               "",
		"a b@example.org":    "",
	} {
		got, err := ParseTarget(in)
		if err != nil && status.Of(err).Exit != int(status.Usage) {
			t.Errorf("%q: %v is not bad usage", in, err)
		}
		if (err == nil) != (want != "") || err == nil && string(got.Kind)+":"+got.Arg != want {
			t.Errorf("%q: got %v, %v, want %q", in, got, err, want)
		}
	}
}

func to(t *testing.T, dir string, names ...string) []Target {
	t.Helper()
	var all []Target
	for _, name := range names {
		kind, path, _ := strings.Cut(name, ":")
		target, err := ParseTarget(kind + ":" + filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, target)
	}
	return all
}

// readMbox returns the messages of an mbox.
func readMbox(t *testing.T, path string) (texts []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := mbox.NewReader(f, mbox.RD)
	for {
		m, err := r.Next()
		if err == io.EOF {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
}

func TestToTargets(t *testing.T) {
	dir := t.TempDir()
	const text = "Subject: x\n\nFrom here\n>From there\nno newline"
	m := message.Bytes([]byte(text))
	targets := to(t, dir, "mbox:b", "maildir:In", "mbox:a", "maildir:In", "mbox:a")
	for i := range 2 {
		if err := toTargetsTruly(t, targets, m, newEnvelope(t, "s@example.net", "alice@example.org")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			got := readMbox(t, filepath.Join(dir, name))
			want := "Return-Path: <s@example.net>\nDelivered-To: alice@example.org\n" + text
			if len(got) != i+1 || got[i] != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
			if _, err := os.Stat(filepath.Join(dir, name+".lock")); err == nil {
				t.Errorf("%s.lock is still there", name)
			}
		}
		if got := len(found(t, dir)); got != i+1 {
			t.Errorf("%d files in the Maildir", got)
		}
	}
	err := toTargetsTruly(t, targets, m, newEnvelope(t, "s@example.net", "a@example.org", "b@example.org"))
	if got := readMbox(t, filepath.Join(dir, "a")); err != nil || strings.Contains(got[2], "Delivered-To") {
		t.Errorf("two recipients: %v, %q", err, got[2])
	}
	looped := message.Bytes([]byte("Delivered-To: a@example.org\n\nx\n"))
	err = toTargetsTruly(t, targets, looped, newEnvelope(t, "", "a@example.org"))
	if err == nil || status.Of(err).Code != 554 {
		t.Errorf("loop: %v", err)
	}
}

func TestToTargetsNone(t *testing.T) {
	dir := t.TempDir()
	const old = "From a@b Thu Jan  1 00:00:00 1970\nSubject: old\n\ntext\n\n"
	path := filepath.Join(dir, "box")
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bad"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"tmp", "cur"} {
		os.Mkdir(filepath.Join(dir, "bad", sub), 0o700)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad", "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("line\n"), 100_000)
	whole := message.Bytes(text)
	cut := message.New(bytes.NewReader(text), int64(len(text))+1)
	for name, c := range map[string]struct {
		m       *message.Message
		targets []string
	}{
		"a Maildir that cannot take it": {whole, []string{"mbox:box", "maildir:bad", "maildir:Good"}},
		"no parent":                     {whole, []string{"mbox:box", "maildir:none/In"}},
		"no parent of an mbox":          {whole, []string{"mbox:box", "mbox:none/box", "maildir:Good"}},
		"a directory":                   {whole, []string{"mbox:box", "mbox:bad"}},
		"a message that ends early":     {cut, []string{"mbox:box"}},
		"nowhere":                       {whole, nil},
	} {
		put := toTargetsTruly
		if c.m == cut { // which only shows when it is read
			put = func(_ *testing.T, targets []Target, m *message.Message, e *envelope.Envelope) error {
				return ToTargets(context.Background(), targets, m, e, Options{})
			}
		}
		err := put(t, to(t, dir, c.targets...), c.m, newEnvelope(t, ""))
		if err == nil || status.Of(err).Class != status.Temporary {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != old {
			t.Errorf("%s: the mbox has %d bytes, %v", name, len(b), err)
		}
		if files := found(t, dir); len(files) != 0 {
			t.Errorf("%s: files %d", name, len(files))
		}
		if locks, _ := filepath.Glob(filepath.Join(dir, "*.lock")); len(locks) != 0 {
			t.Errorf("%s: locks %q", name, locks)
		}
	}
}

func TestAppendAfterWhateverEnd(t *testing.T) {
	for _, end := range []string{"", "text", "text\n", "text\n\n", "text\r\n\r\n", "text\n\n\n"} {
		path := filepath.Join(t.TempDir(), "box")
		old := ""
		if end != "" {
			old = "From a@b Thu Jan  1 00:00:00 1970\nSubject: old\n\n" + end
		}
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		err := toTargetsTruly(t, []Target{{Kind: Mbox, Arg: path}}, message.Bytes([]byte("Subject: new\n\n")), newEnvelope(t, ""))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(b), old) {
			t.Errorf("%q: the old part changed: %q", end, b)
		}
		texts := readMbox(t, path)
		want := 2
		if end == "" {
			want = 1
		}
		if len(texts) != want || texts[want-1] != "Return-Path: <>\nSubject: new\n\n" {
			t.Errorf("%q: got %q", end, texts)
		}
	}
}

func TestManyAppendAtTheSameTime(t *testing.T) {
	const n = 12
	path := filepath.Join(t.TempDir(), "box")
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			text := fmt.Sprintf("Subject: %d\n\n%s", i, strings.Repeat("From somewhere\n", 5000))
			err := toTargetsTruly(t, []Target{{Kind: Mbox, Arg: path}}, message.Bytes([]byte(text)), newEnvelope(t, ""))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, text := range readMbox(t, path) {
		if strings.Count(text, "\nFrom somewhere") != 5000 {
			t.Errorf("a message of %d bytes", len(text))
		}
		seen[text] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d messages", len(seen), n)
	}
}

func TestLockOfAnotherProgram(t *testing.T) {
	saved := lockWait
	lockWait = 100 * time.Millisecond
	defer func() { lockWait = saved }()
	path := filepath.Join(t.TempDir(), "box")
	lock := path + ".lock"
	if err := os.WriteFile(lock, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(ctx context.Context) error {
		return ToTargets(ctx, []Target{{Kind: Mbox, Arg: path}}, message.Bytes([]byte("x\n")), newEnvelope(t, ""), Options{})
	}
	err := put(context.Background())
	if !errors.Is(err, errLocked) || status.Of(err).Exit != int(status.TempFail) {
		t.Errorf("locked by a dotlock: %v", err)
	}
	if _, err := os.Stat(lock); err != nil {
		t.Errorf("the other program's lock is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := put(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while it waits: %v", err)
	}
	old := time.Now().Add(-2 * lockStale)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	if err := put(context.Background()); err != nil {
		t.Errorf("a forgotten lock: %v", err)
	}
	if left, _ := filepath.Glob(path + ".lock*"); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}
