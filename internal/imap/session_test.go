package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"pennypost/internal/maildir"
	"pennypost/internal/mailtest"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC
	mailtest.Main(m)
}

// arrived is the modification time of the messages in tests.
var arrived = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// makeBox lays the files of an archive out as a Maildir++ with UIDVALIDITY 7.
func makeBox(t testing.TB, files []txtar.File) *maildir.Dir {
	t.Helper()
	path := filepath.Join(t.TempDir(), "box")
	d, err := maildir.CreatePath(path)
	if err != nil {
		t.Fatal(err)
	}
	hasList := false
	for _, f := range files {
		name := filepath.Join(path, f.Name)
		if folder, _, ok := strings.Cut(f.Name, "/"); ok && folder[0] == '.' {
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(filepath.Join(path, folder, sub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.WriteFile(name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, arrived, arrived); err != nil {
			t.Fatal(err)
		}
		hasList = hasList || f.Name == "dovecot-uidlist"
	}
	if !hasList {
		list := "3 V7 N1 G00112233445566778899aabbccddeeff\n"
		if err := os.WriteFile(filepath.Join(path, "dovecot-uidlist"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// testConfig takes alice with the password "secret".
func testConfig(d *maildir.Dir) *Config {
	return &Config{
		Login: func(user, password string) (*Account, error) {
			if user != "alice" || password != "secret" {
				return nil, errors.New("authentication failed")
			}
			return &Account{User: user, Dir: d}, nil
		},
		SASL: func(mechanism string, check func(user, password string) error) (Exchange, bool) {
			return &plain{check}, mechanism == "PLAIN"
		},
		Mechanisms: []string{"PLAIN"},
		FailDelay:  time.Nanosecond,
		Poll:       10 * time.Millisecond,
		MaxMessage: 1 << 20,
	}
}

// plain is the mechanism PLAIN, as far as tests need it.
type plain struct {
	check func(user, password string) error
}

func (p *plain) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return nil, false, nil
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 {
		return nil, false, errors.New("malformed")
	}
	return nil, true, p.check(parts[1], parts[2])
}

// start serves a session over a pipe; the error of Serve comes on the channel.
func start(t testing.TB, cfg *Config, p Peer) (net.Conn, chan error) {
	t.Helper()
	client, server := net.Pipe()
	client.SetDeadline(time.Now().Add(20 * time.Second)) // a session that hangs fails the test
	done := make(chan error, 1)
	go func() { done <- cfg.Serve(context.Background(), server, p) }()
	t.Cleanup(func() { client.Close() })
	return client, done
}

// Each testdata/dialog/*.txtar is a dialog, before the files of the mailbox. Its first line says how the
// session starts: "# preauth", "# local" or "# remote". A file "after" has lines "exists GLOB" and
// "missing GLOB" about the mailbox when the session is over.
func TestDialogs(t *testing.T) {
	cases, err := filepath.Glob("testdata/dialog/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no dialogs: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var files []txtar.File
			after := ""
			for _, f := range a.Files {
				if f.Name == "after" {
					after = string(f.Data)
				} else {
					files = append(files, f)
				}
			}
			playDialog(t, string(a.Comment), files, after)
		})
	}
}

func playDialog(t *testing.T, script string, files []txtar.File, after string) {
	d := makeBox(t, files)
	cfg, p := testConfig(d), Peer{}
	mode, _, _ := strings.Cut(script, "\n")
	switch mode {
	case "# preauth":
		p.Account = &Account{User: "alice", Dir: d}
		script = "<- * PREAUTH [CAPABILITY IMAP4rev1 ...\n" + script
	case "# local":
		p.Trusted = true
	case "# remote":
		cfg.TLS = &tls.Config{}
	default:
		t.Fatalf("how does the session start: %q", mode)
	}
	conn, done := start(t, cfg, p)
	mailtest.Dialog(t, conn, script)
	conn.Close()
	<-done
	for line := range strings.Lines(after) {
		verb, glob, _ := strings.Cut(strings.TrimSpace(line), " ")
		found, err := filepath.Glob(filepath.Join(d.Path(), glob))
		if err != nil || (len(found) > 0) != (verb == "exists") || verb != "exists" && verb != "missing" {
			t.Errorf("%s: found %v, %v", line, found, err)
		}
	}
}
