package delivery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
)

// Who is answered, and who is not (RFC 3834 section 2).
func TestVacation(t *testing.T) {
	const to = "To: Alice <ALICE@Example.org>\n"
	for name, c := range map[string]struct {
		header, sender string
		answered       bool
	}{
		"a person":              {to, "bob@example.net", true},
		"in Cc":                 {"To: x@y.example\nCc: z@y.example, (a) <alice@example.org>\n", "bob@example.net", true},
		"by another name":       {"To: info@example.org\n", "bob@example.net", true},
		"with an extension":     {"To: alice+x@example.org\n", "bob@example.net", false},
		"not named":             {"To: undisclosed:;\n", "bob@example.net", false},
		"no To":                 {"", "bob@example.net", false},
		"null sender":           {to, "", false},
		"himself":               {to, "Alice@example.org", false},
		"owner":                 {to, "owner-list@example.net", false},
		"request":               {to, "list-request@example.net", false},
		"daemon":                {to, "MAILER-DAEMON@example.net", false},
		"noreply":               {to, "noreply@example.net", false},
		"a list":                {to + "List-Id: <x>\n", "bob@example.net", false},
		"unsubscribe":           {to + "LIST-Unsubscribe: <x>\n", "bob@example.net", false},
		"bulk":                  {to + "Precedence: Bulk\n", "bob@example.net", false},
		"first-class":           {to + "Precedence: first-class\n", "bob@example.net", true},
		"auto":                  {to + "Auto-Submitted: auto-generated; x\n", "bob@example.net", false},
		"auto no":               {to + "Auto-Submitted: no\n", "bob@example.net", true},
		"suppressed":            {to + "X-Auto-Response-Suppress: All\n", "bob@example.net", false},
		"a field that is a lie": {"To: \"alice@example.org\" <x@y.example>\n", "bob@example.net", false},
	} {
		o, _ := newOffice(t, "example.org/alice")
		var q queue
		opt := Options{Forward: q.put, Vacation: &Vacation{Text: []byte("away\n"),
			Names: []envelope.Address{{Local: "info", Domain: "example.org"}}}}
		if got := deliverTo(t, o, c.header+"Subject: x\n\n", c.sender, "alice@example.org", opt); got != "example.org/alice/Maildir/new/" {
			t.Errorf("%s: delivered to %q", name, got)
		}
		if got := len(q.list) == 1; got != c.answered || len(q.list) > 1 {
			t.Errorf("%s: answered %v, want %v", name, got, c.answered)
		}
	}
}

// A sender is answered once, and again when the time is over; what the answer looks like.
func TestVacationOnce(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice")
	var q queue
	opt := Options{Forward: q.put, Vacation: &Vacation{Text: []byte("From: Alice <alice@example.org>\n\nI am away.\n")}}
	const text = "To: alice@example.org\nMessage-ID: <1@x>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?q?=0D=0ABcc:_x@y?=\n\nhi\n"
	send := func(from string) { deliverTo(t, o, text, from, "alice@example.org", opt) }
	send("bob@example.net")
	send("BOB@example.net")
	if len(q.list) != 1 {
		t.Fatalf("answers %q", q.list)
	}
	envelope, letter, _ := strings.Cut(q.list[0], "\n")
	if envelope != "<> bob@example.net" {
		t.Errorf("envelope %q", envelope)
	}
	h, err := message.Bytes([]byte(letter)).Header()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"From": "Alice <alice@example.org>", "To": "bob@example.net", "In-Reply-To": "<1@x>",
		"References": "<1@x>", "Auto-Submitted": "auto-replied (vacation)", "Bcc": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if s, err := words.DecodeHeader(h.Get("Subject")); err != nil || !strings.HasPrefix(s, "Auto: Grüße") || len(h.All("From")) != 1 {
		t.Errorf("subject %q, %v, in %q", s, err, letter)
	}
	if !strings.HasSuffix(letter, "\n\nI am away.\n") {
		t.Errorf("letter %q", letter)
	}
	send("carol@example.net")
	files, _ := filepath.Glob(filepath.Join(dir, "example.org/alice/.vacation/*"))
	if len(q.list) != 2 || len(files) != 2 {
		t.Errorf("%d answers, files %q", len(q.list), files)
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	for _, f := range files {
		if err := os.Chtimes(f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	send("bob@example.net")
	if len(q.list) != 3 {
		t.Errorf("%d answers after a week", len(q.list))
	}
}

// An answer that cannot go is no failure, and is tried with the next message.
func TestVacationFails(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice")
	fail := true
	var q queue
	opt := Options{Vacation: &Vacation{Text: []byte("away\n")}, Forward: func(ctx context.Context, m *message.Message, e *envelope.Envelope) error {
		if fail {
			return errors.New("full")
		}
		return q.put(ctx, m, e)
	}}
	for range 2 {
		if got := deliverTo(t, o, "To: alice@example.org\n\n", "bob@example.net", "alice@example.org", opt); got != "example.org/alice/Maildir/new/" {
			t.Errorf("got %q", got)
		}
		fail = false
	}
	if len(q.list) != 1 || len(found(t, dir)) != 2 {
		t.Errorf("%d answers, %d messages", len(q.list), len(found(t, dir)))
	}
}

// One mailbox answers once, whatever it is called, and what is thrown away is not answered.
func TestVacationOneMailbox(t *testing.T) {
	o, dir := newOffice(t, "example.org/alice", "example.org/bob/.qmail=#\n")
	if err := os.Symlink("alice", filepath.Join(dir, "example.org/info")); err != nil {
		t.Fatal(err)
	}
	var q queue
	opt := Options{Forward: q.put, Vacation: &Vacation{Text: []byte("away\n")}}
	m := message.Bytes([]byte("To: alice@example.org, info@example.org, bob@example.org\n\n"))
	e := newEnvelope(t, "carol@example.net", "alice@example.org", "info@example.org", "bob@example.org")
	if err := deliverTruly(t, o.Lookup, m, e, opt); err != nil {
		t.Fatal(err)
	}
	if len(q.list) != 1 {
		t.Errorf("answers %q", q.list)
	}
}
