package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/maildir"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// newOffice makes an office with the directories; a name with a final "=TEXT" is a file.
func newOffice(t testing.TB, names ...string) (*postoffice.Office, string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		name, text, isFile := strings.Cut(name, "=")
		path := filepath.Join(dir, filepath.FromSlash(name))
		if isFile {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o, err := postoffice.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o, dir
}

func newEnvelope(t testing.TB, sender string, recipients ...string) *envelope.Envelope {
	t.Helper()
	e := new(envelope.Envelope)
	if err := e.FromArgs(&sender, recipients); err != nil {
		t.Fatal(err)
	}
	return e
}

// found lists the files in new, cur and tmp of all Maildirs below dir, and their texts.
func found(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, pattern := range []string{"*/*/*/new/*", "*/*/*/cur/*", "*/*/*/tmp/*", "*/new/*", "*/cur/*", "*/tmp/*"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			real, err := filepath.EvalSymlinks(name) // an alias shows the same files
			if err != nil {
				t.Fatal(err)
			}
			all[real] = string(b)
		}
	}
	return all
}

func TestDeliver(t *testing.T) {
	const text = "Subject: x\n\nbody\n"
	for _, c := range []struct {
		name       string
		sender     string
		recipients []string
		want       []string // what stands above the text in each copy, sorted
	}{
		{"one", "bob@example.net", []string{"alice@example.org"},
			[]string{"Return-Path: <bob@example.net>\nDelivered-To: alice@example.org\n"}},
		{"null sender", "", []string{"alice@example.org"},
			[]string{"Return-Path: <>\nDelivered-To: alice@example.org\n"}},
		{"several", "b@c", []string{"alice@example.org", "carol@example.com"},
			[]string{"Return-Path: <b@c>\nDelivered-To: alice@example.org\n", "Return-Path: <b@c>\nDelivered-To: carol@example.com\n"}},
		{"one mailbox four times", "b@c", []string{"alice+x@example.org", "Alice@example.org", "info@example.org", "alice@example.org"},
			[]string{"Return-Path: <b@c>\nDelivered-To: alice+x@example.org\n"}},
		{"an extension with a place of its own", "b@c", []string{"alice@example.org", "alice-lists@example.org"},
			[]string{"Return-Path: <b@c>\nDelivered-To: alice-lists@example.org\n", "Return-Path: <b@c>\nDelivered-To: alice@example.org\n"}},
		{"thrown away", "b@c", []string{"alice-junk@example.org"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, dir := newOffice(t, "example.org/alice", "example.org/alice/.qmail-lists=./Lists/\n", "example.org/alice/.qmail-junk=#\n", "example.com/carol")
			if err := os.Symlink("alice", filepath.Join(dir, "example.org", "info")); err != nil {
				t.Fatal(err)
			}
			var placed []string
			opt := Options{Placed: func(path string) { placed = append(placed, path) }}
			m := message.Bytes([]byte(text))
			if err := deliverTruly(t, o.Lookup, m, newEnvelope(t, c.sender, c.recipients...), opt); err != nil {
				t.Fatal(err)
			}
			var got []string
			files := found(t, dir)
			for name, s := range files {
				head, ok := strings.CutSuffix(s, text)
				if !ok || filepath.Base(filepath.Dir(name)) != "new" {
					t.Errorf("%s: %q", name, s)
				}
				got = append(got, head)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for _, p := range placed {
				if _, ok := files[p]; !ok {
					t.Errorf("told of %q, which is not there", p)
				}
			}
			if len(placed) != len(files) {
				t.Errorf("told of %q, there are %d files", placed, len(files))
			}
		})
	}
}

func TestDeliverNobody(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice", "example.org/bob", "example.org/bob/Maildir/new=a file",
		"example.org/carol/.qmail=|program\n", "example.org/dora", "example.org/dora/Maildir=a file")
	looped := "Received: x\nDelivered-To: Alice@EXAMPLE.org\nSubject: x\n\nDelivered-To: bob@example.org\n"
	for _, c := range []struct {
		name, text string
		recipients []string
		want       string
	}{
		{"unknown user", "x\n", []string{"alice@example.org", "nobody@example.org"}, "550 5.1.1 <nobody@example.org>"},
		{"unknown domain", "x\n", []string{"alice@example.org", "alice@example.net"}, "550 5.1.2 deliver to <alice@example.net>: "},
		{"loop", looped, []string{"dora@example.org", "alice@example.org"}, ""},
		{"loop", looped, []string{"alice@example.org"}, "554 5.4.6 mail loop: "},
		{"many hosts", strings.Repeat("Received: x\n", 101) + "\n", []string{"alice@example.org"}, "554 5.4.6 deliver to <alice@example.org>: mail loop: "},
		{"cannot commit", "x\n", []string{"alice@example.org", "bob@example.org"}, "451 4.3.0 "},
		{"cannot stage", "x\n", []string{"alice@example.org", "dora@example.org"}, "451 4.3.0 deliver to <dora@example.org>: "},
		{"instructions", "x\n", []string{"alice@example.org", "carol@example.org"}, "451 4.3.5 deliver to <carol@example.org>: "},
		{"no recipient", "x\n", nil, "451 4.3.5 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := Options{Placed: func(path string) { t.Errorf("told of %s", path) }}
			err := deliverTruly(t, o.Lookup, message.Bytes([]byte(c.text)), newEnvelope(t, "s@example.net", c.recipients...), opt)
			if err == nil {
				t.Fatal("delivered")
			}
			if got := status.Of(err).Line(); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if files := found(t, dir); len(files) != 0 {
				t.Errorf("files %v", files)
			}
		})
	}
}

// A loop is noticed by the header alone, and only for the same mailbox.
func TestDeliveredToOfOthersIsNoLoop(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice", "xn--bcher-kva.example/kafka")
	for text, delivered := range map[string]bool{
		"Delivered-To: alice@example.com\n\nx":                  true,
		"Delivered-To: alice+x@example.org\n\nx":                true,
		"Subject: x\n\nDelivered-To: alice@example.org\n":       true,
		"delivered-to:\talice@example.org\n\nx":                 false,
		"Subject: x\nDelivered-To:\n  alice@example.org \n\nx":  false,
		"Delivered-To: <ALICE@example.org>\r\n\r\nx":            false,
		"Delivered-To: nonsense\nDelivered-To: alice@b@c\n\nx":  true,
		strings.Repeat("X: y\n", 20_000) + "Subject: long\n\nx": true,
		strings.Repeat("x", 2<<20):                              true,
	} {
		err := deliverTruly(t, o.Lookup, message.Bytes([]byte(text)), newEnvelope(t, "", "alice@example.org"), Options{})
		if (err == nil) != delivered {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	if got := len(found(t, dir)); got != 6 {
		t.Errorf("%d files", got)
	}
	text := "Delivered-To: kafka@bücher.example\n\nx"
	if err := deliverTruly(t, o.Lookup, message.Bytes([]byte(text)), newEnvelope(t, "", "kafka@xn--bcher-kva.example"), Options{}); err == nil {
		t.Error("a loop in the other form of the domain was not noticed")
	}
}

// cancelling is a message that cancels a context in the middle of being read.
type cancelling struct {
	io.ReaderAt
	cancel func()
	at     int64
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.at {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, off)
}

func TestInterruptedDelivery(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice", "example.org/bob")
	text := bytes.Repeat([]byte("line\n"), 100_000)
	ctx, cancel := context.WithCancel(context.Background())
	m := message.New(&cancelling{bytes.NewReader(text), cancel, 200_000}, int64(len(text)))
	err := Deliver(ctx, o.Lookup, m, newEnvelope(t, "", "alice@example.org", "bob@example.org"), Options{})
	if !errors.Is(err, context.Canceled) || status.Of(err).Class != status.Temporary {
		t.Errorf("error %v", err)
	}
	if files := found(t, dir); len(files) != 0 {
		t.Errorf("%d files", len(files))
	}
}

func TestBrokenMessage(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice")
	text := bytes.Repeat([]byte("line\n"), 100_000)
	m := message.New(bytes.NewReader(text), int64(len(text))+1) // somebody has cut the file
	err := Deliver(context.Background(), o.Lookup, m, newEnvelope(t, "", "alice@example.org"), Options{})
	if err == nil || status.Of(err).Class != status.Temporary {
		t.Errorf("error %v", err)
	}
	if files := found(t, dir); len(files) != 0 {
		t.Errorf("%d files", len(files))
	}
}

func TestCleanSometimes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Maildir")
	d, err := maildir.CreatePath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	old := filepath.Join(path, "tmp", "1.left.over")
	now := time.Now()
	for _, c := range []struct {
		after time.Duration
		there bool
	}{{0, false}, {cleanEvery - time.Second, true}, {cleanEvery, false}, {2*cleanEvery - time.Second, true}} {
		if err := os.WriteFile(old, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(old, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		cleanSometimes(d, now.Add(c.after))
		if _, err := os.Stat(old); (err == nil) != c.there {
			t.Errorf("after %v: %v, want there %v", c.after, err, c.there)
		}
	}
}
