package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost/internal/mailtest"
)

// asking starts smtpsend with a message on standard input and a terminal to ask at. What it returns waits for its end.
func asking(t *testing.T, args ...string) (s *sitting, end func() (said, complained string, exit int)) {
	t.Helper()
	user, program := openPTY(t)
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "smtpsend", "smtpd"), "smtpsend"), args...)
	var out, talk bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("Subject: x\n\n"), &out, &talk
	cmd.ExtraFiles = append(cmd.ExtraFiles, program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill(); program.Close() }) // reading ends with both
	t.Cleanup(func() { timer.Stop(); program.Close() })
	return &sitting{t: t, tty: user}, func() (string, string, int) {
		cmd.Wait()
		return out.String(), talk.String(), cmd.ProcessState.ExitCode()
	}
}

// The password is asked for at the terminal, though standard input is the message, and does not show. Whatever is typed, the
// terminal shows again what is typed afterwards.
func TestPasswordPrompt(t *testing.T) {
	_, office := mechanismOffice(t)
	args := []string{"--pipe", filepath.Join(mailtest.Build(t, "smtpd"), "smtpd") + " --allow-plaintext --office '" + office + "' -- true",
		"--auth", "plain", "--user", "alice@example.org", "-f", "alice@example.org", "bob@elsewhere.example"}
	for _, tt := range []struct {
		name, types string
		said        string // of the recipient
		complained  string
		exit        int
	}{
		{"right", secretWord + "\r", "K\tbob@elsewhere.example\tpipe\t250 ", "", 0},
		{"wrong, then nothing more is asked", "hunter\r", "Z\tbob@elsewhere.example\tpipe\t451 4.3.5 log in by PLAIN: 535 5.7.8 ", "log in by PLAIN", 78},
		{"nothing", "\r", "", "get the password: the first line has 0 bytes, want 1 to 1024", 78},
		{"corrected", "nonsense\x15" + secretWord + "x\x7f\r", "K\t", "", 0},
		{"the end of the input", "\x04", "", "get the password: none was typed", 78},
		{"interrupted", "half\x03", "", "get the password: none was typed", 78},
		{"too long", strings.Repeat("x", 1025) + "\r", "", "get the password: the first line has 1025 bytes", 78},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, end := asking(t, args...)
			s.await("Password for alice@example.org: ")
			s.types(tt.types)
			said, complained, exit := end()
			if !strings.HasPrefix(said, tt.said) || said != "" && tt.said == "" || !strings.Contains(complained, tt.complained) || exit != tt.exit {
				t.Errorf("said %q, want %q; complained %q, want %q; exit %d, want %d", said, tt.said, complained, tt.complained, exit, tt.exit)
			}
			s.types("and now?")
			s.await("and now?")
			if shown := s.seen.String(); strings.Contains(shown, "hunter") || strings.Contains(shown, "half") || strings.Contains(shown, "xxx") {
				t.Errorf("the terminal showed %q", shown)
			}
		})
	}
}

// Without a terminal there is nobody to ask, and nothing is sent.
func TestNobodyToAsk(t *testing.T) {
	cmd := exec.Command(filepath.Join(mailtest.Build(t, "smtpsend"), "smtpsend"), "--pipe", "echo started >&2", "--user", "alice@example.org", "a@example.org")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 78 || !strings.Contains(string(out), "no terminal to ask at: give --password-file") || strings.Contains(string(out), "started") {
		t.Errorf("%v: %s", err, out)
	}
}
