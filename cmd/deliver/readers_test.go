package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// The letter that readers are given: 20 lines of which the last has no end, so that its sizes differ.
var readLetter = "From: A <a@example.com>\nDate: Tue, 24 Nov 2026 12:00:00 +0000\nMessage-ID: <read@example.com>\nSubject: for readers\n\n" +
	strings.Repeat("line\n", 14) + "end"

// written is a Maildir with what deliver wrote: a new letter, one that is replied to and flagged, and one with a keyword in a
// folder.
func written(t *testing.T) (home string) {
	t.Helper()
	bin := mailtest.Build(t, "deliver")
	home = mailtest.Passable(t)
	for _, args := range []string{"", "--flags RF", "--folder Archive.2026 --flags S --keyword work"} {
		cmd := exec.Command(filepath.Join(bin, "deliver"), append(strings.Fields(args), "-f", "a@example.com", "--to", "maildir:"+home+"/Maildir")...)
		cmd.Stdin = strings.NewReader(readLetter)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("deliver %s: %v: %s", args, err, out)
		}
	}
	return home
}

// asNobody gives a home to nobody and returns the words before a command that make it his, for readers that refuse to be root.
func asNobody(t *testing.T, home string) []string {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	if out, err := exec.Command("chown", "-R", "65534:65534", home).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	return []string{mailtest.Peer(t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"}
}

// reader runs a reading program with what it is told on stdin, and returns what it prints.
func reader(t *testing.T, home, stdin string, env []string, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*mailtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = home, append(append(os.Environ(), "HOME="+home, "USER=nobody", "TERM=vt100"), env...), strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
	return string(out)
}

// wants checks that each expression matches once.
func wants(t *testing.T, out string, exprs ...string) {
	t.Helper()
	for _, e := range exprs {
		if n := len(regexp.MustCompile(`(?m)`+e).FindAllString(out, -1)); n != 1 {
			t.Errorf("%q is there %d times in\n%s", e, n, out)
		}
	}
}

const imapReading = "1 LIST \"\" \"*\"\r\n2 SELECT INBOX\r\n3 FETCH 1:* (RFC822.SIZE FLAGS)\r\n4 EXAMINE FOLDER\r\n" +
	"5 FETCH 1:* (RFC822.SIZE FLAGS)\r\n6 FETCH 1 (BODY.PEEK[])\r\n7 LOGOUT\r\n"

// sizes are what S= and W= of the letter must be, with the line that deliver adds.
func sizes() (s, w int) {
	text := "Return-Path: <a@example.com>\n" + readLetter
	return len(text), len(text) + strings.Count(text, "\n")
}

// Names have the sizes that readers believe without looking.
func TestNamesHaveSizes(t *testing.T) {
	home := written(t)
	s, w := sizes()
	for pattern, want := range map[string]string{
		"Maildir/new/*":               `,S=%d,W=%d$`,
		"Maildir/cur/*":               `,S=%d,W=%d:2,FR$`,
		"Maildir/.Archive.2026/cur/*": `,S=%d,W=%d:2,Sa$`,
	} {
		names, _ := filepath.Glob(filepath.Join(home, pattern))
		want = strings.NewReplacer("S=%d", "S="+strconv.Itoa(s), "W=%d", "W="+strconv.Itoa(w)).Replace(want)
		wants(t, strings.Join(names, "\n"), want)
	}
}

// Dovecot sees sizes, flags, keywords and the folder.
func TestDovecotReads(t *testing.T) {
	const imap = "/usr/lib/dovecot/imap"
	if _, err := os.Stat(imap); err != nil {
		t.Skipf("peer dovecot-imapd is not installed: %v", err)
	}
	home := written(t)
	conf := filepath.Join(home, "dovecot.conf")
	text := "base_dir = " + home + "/run\nlog_path = /dev/stderr\nssl = no\nmail_location = maildir:" + home + "/Maildir\n" +
		"namespace inbox {\n inbox = yes\n separator = .\n}\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := reader(t, home, strings.Replace(imapReading, "FOLDER", "Archive.2026", 1), nil, append(asNobody(t, home), imap, "-c", conf)...)
	_, w := sizes()
	wants(t, out, `^\* LIST \(.*\) "\." "?Archive\.2026"?\r$`, `^\* 2 EXISTS`, `^\* 1 EXISTS`,
		`^\* \d FETCH \(RFC822\.SIZE `+strconv.Itoa(w)+` FLAGS \(\\Recent\)\)`,
		`^\* \d FETCH \(RFC822\.SIZE `+strconv.Itoa(w)+` FLAGS \(\\Answered \\Flagged \\Recent\)\)`,
		`^\* 1 FETCH \(RFC822\.SIZE `+strconv.Itoa(w)+` FLAGS \(\\Seen \\Recent work\)\)`, `BODY\[\] \{`+strconv.Itoa(w)+`\}`, `line\r\nend\)`)
	wants(t, out+"BAD ", `(?i)error|warning|BAD `) // nothing but our own BAD
}

// Courier sees the same by IMAP, but keywords, which it keeps elsewhere, and the sizes by POP3.
func TestCourierReads(t *testing.T) {
	imap, pop := mailtest.Unpacked(t, "usr/bin/imapd"), mailtest.Unpacked(t, "usr/lib/courier/courier/courierpop3d")
	root := os.Getenv("MAIL_PEERS")
	home := written(t)
	env := []string{"LD_LIBRARY_PATH=" + root + "/usr/lib:" + root + "/usr/lib/x86_64-linux-gnu", "AUTHENTICATED=nobody", "AUTHADDR=nobody",
		"TCPREMOTEIP=127.0.0.1", "IMAP_CAPABILITY=IMAP4rev1", "IMAP_USELOCKS=0"}
	_, w := sizes()
	out := reader(t, home, strings.Replace(imapReading, "FOLDER", "INBOX.Archive.2026", 1), env, imap, "Maildir")
	wants(t, out, `^\* LIST \(.*\) "\." "INBOX\.Archive\.2026"\r$`, `^\* 2 EXISTS`, `^\* 1 EXISTS`,
		`^\* \d FETCH \(RFC822\.SIZE `+strconv.Itoa(w)+` FLAGS \((\\Recent)?\)\)`, `^\* \d FETCH \(RFC822\.SIZE `+strconv.Itoa(w)+` FLAGS \(\\Flagged \\Answered( \\Recent)?\)\)`,
		`^\* 1 FETCH \(RFC822\.SIZE `+strconv.Itoa(w)+` FLAGS \(\\Seen( \\Recent)?\)\)`, `BODY\[\] \{`+strconv.Itoa(w)+`\}`)
	out = reader(t, home, "STAT\r\nLIST\r\nRETR 1\r\nQUIT\r\n", env, pop, "Maildir")
	wants(t, out, `^\+OK 2 `+strconv.Itoa(2*w)+`\r$`, `^1 `+strconv.Itoa(w)+`\r$`, `^2 `+strconv.Itoa(w)+`\r$`, `^end\r$`)
}

// mutt counts what is new and flagged, and opens the folder.
func TestMuttReads(t *testing.T) {
	mutt, script := mailtest.Peer(t, "mutt"), mailtest.Peer(t, "script")
	home := written(t)
	rc := "set folder=" + home + "/Maildir quit=yes mark_old=no status_format=\"<%m messages, %n new, %F flagged>\"\npush <quit>\n"
	if err := os.WriteFile(filepath.Join(home, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{"Maildir": "<2 messages, 1 new, 1 flagged>", "Maildir/.Archive.2026": "<1 messages, 0 new, 0 flagged>"} {
		said := reader(t, home, "", nil, script, "-qec", mutt+" -n -F rc -f "+folder, "/dev/null")
		if !strings.Contains(said, want) || !strings.Contains(said, "for readers") {
			t.Errorf("%s: no %q in %q", folder, want, said)
		}
	}
}

// notmuch finds the folder and makes tags of the flags.
func TestNotmuchReads(t *testing.T) {
	notmuch := mailtest.Peer(t, "notmuch")
	home := written(t)
	config := filepath.Join(home, "config")
	text := "[database]\npath=" + home + "/Maildir\n[user]\nname=x\nprimary_email=x@example.org\n[new]\ntags=fresh\n[maildir]\nsynchronize_flags=true\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"NOTMUCH_CONFIG=" + config}
	reader(t, home, "", env, notmuch, "new")
	for query, want := range map[string]string{"*": "3", "tag:flagged": "3"} {
		if got := reader(t, home, "", env, notmuch, "count", "--output=files", query); got != want+"\n" {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	wants(t, reader(t, home, "", env, notmuch, "search", "--output=files", "folder:.Archive.2026"), `/\.Archive\.2026/cur/`)
	wants(t, reader(t, home, "", env, notmuch, "search", "tag:flagged and tag:replied"), `for readers`)
}

// mu finds the same.
func TestMuReads(t *testing.T) {
	mu := mailtest.Peer(t, "mu")
	home := written(t)
	reader(t, home, "", nil, mu, "init", "--muhome="+home+"/mu", "--maildir="+home+"/Maildir")
	reader(t, home, "", nil, mu, "index", "--muhome="+home+"/mu")
	out := reader(t, home, "", nil, mu, "find", "--muhome="+home+"/mu", "", "--fields", "m g s")
	wants(t, out, `^/ FR\S* for readers$`, `^/ [Nu]+ for readers$`, `^/\.Archive\.2026 S for readers$`)
}

// Dovecot writes the names of folders as we do.
func TestDovecotNamesFolders(t *testing.T) {
	doveadm := mailtest.Peer(t, "doveadm")
	bin, home := mailtest.Build(t, "deliver"), t.TempDir()
	for _, name := range []string{"Entwürfe", "Post 台北.日本 x", "a💬b", "ü-ß", "\u00a0"} {
		cmd := exec.Command(filepath.Join(bin, "deliver"), "--print", "--folder", name, "--to", "maildir:"+home+"/Maildir")
		out, err := cmd.Output()
		got := strings.TrimPrefix(filepath.Base(filepath.Dir(filepath.Dir(string(out)))), ".")
		want := strings.TrimSpace(reader(t, home, "", nil, doveadm, "mailbox", "mutf7", "-8", name))
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, Dovecot has %q", name, got, err, want)
		}
	}
}
