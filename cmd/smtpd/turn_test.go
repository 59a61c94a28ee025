package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// A run for a domain is started once, with the words of MAIL_RUN, and only a few at a time.
func TestTurns(t *testing.T) {
	dir := t.TempDir()
	q, err := queue.Open(filepath.Join(dir, "queue"), queue.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, to := range []string{"a@one.example", "b@sub.one.example", "c@two.example", "d@x.example", "e@y.example", "f@z.example", "g@BÜCHER.example"} {
		a, err := envelope.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Put(message.Bytes([]byte("Subject: x\n\n")),
			&envelope.Envelope{Recipients: []envelope.Address{a}, SMTPUTF8: true}, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	// The program says what it was run with and ends when it is sent a line through a named pipe.
	program := filepath.Join(dir, "smtpsend")
	script := "#!/bin/sh\necho \"$*\" >>" + dir + "/ran\nread x <" + dir + "/go\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "go"), 0o600); err != nil {
		t.Fatal(err)
	}
	gate, err := os.OpenFile(filepath.Join(dir, "go"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	t.Setenv("MAIL_RUN", "--name  mx.example.org")
	n := &turns{queue: filepath.Join(dir, "queue"), program: program, log: slog.New(slog.DiscardHandler),
		running: make(map[string]bool), may: func(c envelope.Connection) bool { return c.AuthUser != "" }}
	ask := func(user, domain string, below bool) (int, int) {
		got, err := n.start(t.Context(), &smtp.Facts{Envelope: &envelope.Envelope{Conn: envelope.Connection{AuthUser: user}}}, domain, below)
		if err != nil {
			return got, status.Of(err).Code
		}
		return got, 0
	}
	for _, tt := range []struct {
		name, user, domain string
		below              bool
		n, code            int
	}{
		{"a stranger", "", "one.example", false, 0, 459},
		{"one domain", "u", "one.example", false, 1, 0},
		{"again", "u", "one.example", false, -1, 0},
		{"with those below", "u", "one.example", true, 2, 0},
		{"not part of a name", "u", "ne.example", true, 0, 0},
		{"nothing waits", "u", "none.example", false, 0, 0},
		{"A-labels", "u", "xn--bcher-kva.example", false, 1, 0},
		{"a fourth", "u", "x.example", false, 1, 0},
		{"too many", "u", "y.example", false, 0, 458},
	} {
		if got, code := ask(tt.user, tt.domain, tt.below); got != tt.n || code != tt.code {
			t.Errorf("%s: got %d, %d, want %d, %d", tt.name, got, code, tt.n, tt.code)
		}
	}
	n.mu.Lock()
	running := len(n.running)
	n.mu.Unlock()
	gate.WriteString(strings.Repeat("\n", running))
	n.all.Wait()
	if len(n.running) > 0 {
		t.Errorf("%v are not over", n.running)
	}
	ran, _ := os.ReadFile(filepath.Join(dir, "ran"))
	for _, want := range []string{"one.example", ".one.example", "x.example", "xn--bcher-kva.example"} {
		line := "--queue " + n.queue + " run --name mx.example.org --domain " + want + "\n"
		if strings.Count(string(ran), line) != 1 {
			t.Errorf("%q is not once in\n%s", line, ran)
		}
	}
}
