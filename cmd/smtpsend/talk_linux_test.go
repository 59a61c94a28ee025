package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"pennypost/internal/mailtest"
)

// openPTY opens a terminal: the side of who sits there, and the program's.
func openPTY(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	var unlock, n int32
	for request, p := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &n} {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), request, uintptr(unsafe.Pointer(p))); e != 0 {
			t.Fatal(e)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	return user, program
}

// sitting is somebody at a terminal, who types when he has seen something.
type sitting struct {
	t    *testing.T
	tty  *os.File
	seen bytes.Buffer
	from int
}

func (s *sitting) await(text string) {
	s.t.Helper()
	for !strings.Contains(s.seen.String()[s.from:], text) {
		b := make([]byte, 4096)
		n, err := s.tty.Read(b)
		s.seen.Write(b[:n])
		if err != nil && n == 0 && !strings.Contains(s.seen.String()[s.from:], text) {
			s.t.Fatalf("%q is not to be seen in\n%q: %v", text, s.seen.String()[s.from:], err)
		}
	}
	s.from += strings.Index(s.seen.String()[s.from:], text) + len(text)
}

func (s *sitting) types(text string) { s.tty.WriteString(text) }

// A session at a terminal: completion, what is not shown, lines that come unasked, and the end by the server.
func TestTalkAtTerminal(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	err := os.WriteFile(script, []byte("<- 220 here\n-> EHLO me\n<- 250-here\n<- 250 AUTH PLAIN\n-> AUTH PLAIN\n<- 334 \n-> c2VjcmV0\n"+
		"<- 535 5.7.8 no\n<= 421 4.4.2 \\x1b[31mbye\\r\\n\n<- EOF\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	bin := mailtest.Build(t, "smtpsend", "smtpd")
	user, program := openPTY(t)
	cmd := exec.Command(filepath.Join(bin, "smtpsend"), "talk", "--pipe", filepath.Join(bin, "smtpd")+" --script "+script)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, &stderr
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	defer time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() }).Stop() // reading ends with it
	s := &sitting{t: t, tty: user}
	s.await("\x1b[32m<- 220 here\x1b[0m")
	s.await("-> ")
	s.types("eh\tme\r")
	s.await("<- 250 AUTH PLAIN")
	s.await("-> ")
	s.types("a\tp\t\r")
	s.await("-> (not shown) ")
	s.types("c2VjcmV0\r")
	s.await(`\x1b[31mbye`)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 75 || !strings.Contains(stderr.String(), "closed the connection") {
		t.Errorf("%v, %q; want status 75", err, stderr.String())
	}
	if strings.Contains(s.seen.String(), "c2VjcmV0") {
		t.Errorf("the secret shows in %q", s.seen.String())
	}
}

// talks starts a session at a terminal, which stays open for a look at it afterwards. The second result waits for the end.
func talks(t *testing.T, args ...string) (s *sitting, end func() (complained string, exit int)) {
	t.Helper()
	user, program := openPTY(t)
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "smtpsend", "smtpd"), "smtpsend"), append([]string{"talk"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, &stderr
	cmd.Env = append(os.Environ(), "TERM=dumb")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(mailtest.Patience, func() { cmd.Process.Kill(); program.Close() })
	t.Cleanup(func() { timer.Stop(); program.Close() })
	return &sitting{t: t, tty: user}, func() (string, int) {
		cmd.Wait()
		return stderr.String(), cmd.ProcessState.ExitCode()
	}
}

// exchanges are what is typed, and what is then seen, in this order.
func (s *sitting) exchanges(all [][]string) {
	s.t.Helper()
	for _, e := range all {
		s.types(e[0])
		for _, want := range e[1:] {
			s.await(want)
		}
	}
}

// All that helps at a terminal: each helper, completion of words by what was offered, earlier lines, the time a reply took,
// what it means, bytes as typed, and a message typed by hand.
func TestTalkHelpers(t *testing.T) {
	secret, office := mechanismOffice(t)
	dir := t.TempDir()
	letter, saved := filepath.Join(dir, "letter"), filepath.Join(dir, "saved")
	if err := os.WriteFile(letter, []byte("Subject: from a file\n\n.dot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	smtpd := filepath.Join(mailtest.Build(t, "smtpsend", "smtpd"), "smtpd") + " --name mx.example --office '" + office + "' 2>/dev/null"
	s, end := talks(t, "--user", "alice@example.org", "--password-file", secret, "--helo", "me.example", "--pipe", smtpd)
	s.await("<- 220 mx.example")
	s.exchanges([][]string{
		{"", " ms", "-> "},
		{".he\t\r", ".help", ".auth [MECHANISM]", ".b64 [-d] TEXT", ".what [CODE [ENHANCED]]", "Tab completes", "-> "},
		{"start\t", "start"}, // it was not offered yet
		{"\x15.eh\t\r", ".ehlo", "-> EHLO me.example", "<- 250-STARTTLS", " ms", "-> "},
		{"start\t\x15.tls\r", "STARTTLS", "-> EHLO me.example", "-> STARTTLS", "<- 220 ", "== TLS 1.3", "-> EHLO me.example", "<- 250", " ms", "-> "},
		{".auth\r", "-> AUTH PLAIN", "<- 235 2.7.0", "-> "},
		{"mail from:<alice@example.org> si\t5\r", "> SIZE=5", "<- 250 2.1.0", "-> "},
		{"rcpt to:<alice@example.org> \t", "   NOTIFY=  ORCPT="},
		{"no\tnever\r", "NOTIFY=never", "<- 250 2.1.5", "-> "},
		{"rcpt to:<nobody@example.org>\r", "<- 550 5.1.1", "-> "},
		{".what\r", "550: refused", "5.1.1: no such mailbox", "-> "},
		{".what 452 4.2.2\r", "452: ", "4.2.2: the mailbox is full", "-> "},
		{".send " + letter + "\r", "-> DATA", "<- 354", "<- 250 2.0.0", "-> "},
		{"noop\r", "<- 250 2.0.0", "-> "},
		{"rset\r", "<- 250 2.0.0", "-> "},
		{"\x1b[A\x1b[A", "rset", "noop"}, // the line before the last one
		{"\r", "<- 250 2.0.0", "-> "},
		{".b64 hello\r", "aGVsbG8=", "-> "},
		{".b64 -d G1sy\r", `\x1b[2`, "-> "},
		{".raw\r", "=> "},
		{`NOOP\r\nNOOP\r` + "\r", "=> "},
		{`\n` + "\r", "<- 250 2.0.0", "=> "},
		{".raw\r", "-> "},
		{"mail from:<>\r", "<- 250 2.1.0", "-> "},
		{"rcpt to:<alice@example.org>\r", "<- 250 2.1.5", "-> "},
		{"data\r", "<- 354", " ms"},
		{"Subject: by hand\r\r.dot\r.\r", "by hand", "<- 250 2.0.0", "-> "},
		{".save " + saved + "\r", "-> "},
		{".quit\r", "<- 221 2.0.0"},
	})
	if complained, exit := end(); exit != 0 || complained != "" {
		t.Errorf("exit %d, %q", exit, complained)
	}
	s.exchanges([][]string{{"and now?", "and now?"}}) // it shows again
	letters := ""
	files, _ := filepath.Glob(filepath.Join(office, "example.org/alice/Maildir/new/*"))
	for _, f := range files {
		letters += string(mustRead(t, f))
	}
	if len(files) != 2 || !strings.Contains(letters, "Subject: from a file\n\n.dot\n") || !strings.Contains(letters, "Subject: by hand\n\n.dot\n") {
		t.Errorf("%d letters: %s", len(files), letters)
	}
	text := string(mustRead(t, saved))
	if strings.Contains(s.seen.String()+text, "hun") || strings.Contains(text, "aHVu") || !strings.Contains(text, "== TLS 1.3") {
		t.Errorf("saved\n%s\nseen\n%s", text, s.seen.String())
	}
}

// The keys that end the input end the session, and the terminal is as it was.
func TestTalkEnds(t *testing.T) {
	_, office := mechanismOffice(t)
	smtpd := filepath.Join(mailtest.Build(t, "smtpsend", "smtpd"), "smtpd") + " --office '" + office + "'"
	for _, key := range []string{"\x03", "\x04"} {
		s, end := talks(t, "--pipe", smtpd)
		s.await(" ms")
		s.await("-> ")
		s.types(key)
		if complained, exit := end(); exit != 0 || complained != "" {
			t.Errorf("%q: exit %d, %q", key, exit, complained)
		}
		s.exchanges([][]string{{"and now?", "and now?"}})
	}
}
