package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// faults are what smtp-sink does instead of taking a message, and what becomes of the recipients it has to do with.
var faults = []struct {
	name string
	args []string
	want string // the state after one run: waiting, or gone = delivered, or told = failed and reported
}{
	{"hangs up at once", []string{"-q", "CONNECT"}, "waiting"},
	{"hangs up after EHLO", []string{"-q", "EHLO"}, "waiting"},
	{"hangs up after MAIL", []string{"-q", "MAIL"}, "waiting"},
	{"hangs up after RCPT", []string{"-q", "RCPT"}, "waiting"},
	{"hangs up after DATA", []string{"-q", "DATA"}, "waiting"},
	{"hangs up after the message", []string{"-q", "."}, "waiting"},
	{"hangs up after QUIT", []string{"-q", "QUIT"}, "gone"},
	{"421 at once", []string{"-Q", "CONNECT"}, "waiting"},
	{"421 to EHLO", []string{"-Q", "EHLO"}, "waiting"},
	{"421 to MAIL", []string{"-Q", "MAIL"}, "waiting"},
	{"421 to RCPT", []string{"-Q", "RCPT"}, "waiting"},
	{"421 to DATA", []string{"-Q", "DATA"}, "waiting"},
	{"421 to the message", []string{"-Q", "."}, "waiting"},
	{"450 at once", []string{"-r", "CONNECT"}, "waiting"},
	{"450 to MAIL", []string{"-r", "MAIL"}, "waiting"},
	{"450 to RCPT", []string{"-r", "RCPT"}, "waiting"},
	{"450 to DATA", []string{"-r", "DATA"}, "waiting"},
	{"450 to the message", []string{"-r", "."}, "waiting"},
	{"500 to MAIL", []string{"-f", "MAIL"}, "told"},
	{"500 to RCPT", []string{"-f", "RCPT"}, "told"},
	{"500 to DATA", []string{"-f", "DATA"}, "told"},
	{"500 to the message", []string{"-f", "."}, "told"},
	// With PIPELINING smtp-sink would answer what comes after RCPT.
	{"says nothing to RCPT", []string{"-p", "-W", "RCPT:600"}, "waiting"},
	{"says nothing to the message", []string{"-W", ".:600"}, "waiting"},
	{"knows HELO only", []string{"-f", "EHLO"}, "gone"},
}

// Each fault of a server leaves its recipients in the queue, or is reported, and keeps nobody else from his mail: a run with
// it is followed by one with a server that is well, and everybody has the message once, or the sender knows.
func TestQueueFaults(t *testing.T) {
	mailtest.Peer(t, "smtp-sink")
	bin := mailtest.Build(t, "smtpsend")
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h := newFaultHost(t, bin)
			h.do("Subject: hi\n\nbody\n", "-f", "sender@here.example", "a@far.example", "bob@here.example", "b@far.example")
			h.run(h.sink(f.args...))
			waiting := h.do("", "list")
			switch n := strings.Count(waiting, "\twaiting\t"); {
			case f.want == "waiting" && n != 2:
				t.Errorf("two recipients should wait, and the queue has %q", waiting)
			case f.want != "waiting" && waiting != "":
				t.Errorf("nothing should wait, and the queue has %q", waiting)
			}
			h.expect("bob", 1, "")
			h.expect("sender", map[string]int{"told": 1}[f.want],
				`(?ms)^Final-Recipient: rfc822; a@far\.example$.*^Final-Recipient: rfc822; b@far\.example$`)

			h.do("", "retry", "--all")
			dump := filepath.Join(h.dir, "dump")
			h.run(h.sink("-D", dump))
			got, err := os.ReadFile(dump)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			want := map[string]int{"waiting": 1}[f.want]
			for _, to := range []string{"<a@far.example>", "<b@far.example>"} {
				if n := strings.Count(string(got), "X-Rcpt-Args: "+to); n != want {
					t.Errorf("the server that is well got it %d times for %s, want %d", n, to, want)
				}
			}
			h.expect("bob", 1, "")
			if left := h.do("", "list"); left != "" {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A server that says 550 when it has asked for the message, does not read it and hangs up (smtp-sink -A) refuses it,
// whether its reply is seen before the message, within it, or after its end.
func TestQueueReplyTooEarly(t *testing.T) {
	mailtest.Peer(t, "smtp-sink")
	for _, size := range []int{1, 8 << 20} { // one fits into a socket, and one does not
		h := newFaultHost(t, mailtest.Build(t, "smtpsend"))
		h.do("Subject: hi\n\n"+strings.Repeat(strings.Repeat("x", 70)+"\n", size/71+1), "-f", "sender@here.example", "a@far.example")
		h.run(h.sink("-A", "0"))
		if list := h.do("", "list"); list != "" {
			t.Errorf("%d bytes: the queue has %q", size, list)
		}
		h.expect("sender", 1, `(?m)^Diagnostic-Code: smtp; 550 This violates SMTP$`)
	}
}

// faultHost has a queue, and an office with a sender and bob.
type faultHost struct {
	t        *testing.T
	bin, dir string
}

func newFaultHost(t *testing.T, bin string) *faultHost {
	h := &faultHost{t, bin, t.TempDir()}
	for _, user := range []string{"sender", "bob"} {
		if err := os.MkdirAll(filepath.Join(h.dir, "office/here.example", user), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// do calls smtpsend on the queue and returns what it prints; it must exit 0.
func (h *faultHost) do(stdin string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command(filepath.Join(h.bin, "smtpsend"), append([]string{"--queue", filepath.Join(h.dir, "queue")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("smtpsend %q: %v: %s", args, err, stderr.String())
	}
	h.t.Log(stderr.String())
	return string(out)
}

// run sends what is due to a server.
func (h *faultHost) run(address string) {
	h.t.Helper()
	h.do("", "run", "--server", "smtp+notls://"+address, "--office", filepath.Join(h.dir, "office"), "--attempt-timeout", "2s")
}

// sink starts a server with these options.
func (h *faultHost) sink(args ...string) (address string) {
	h.t.Helper()
	address = "127.0.0.1:" + mailtest.FreePort(h.t)
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	sink(h.t, "tcp", address, append(args, "inet:"+address, "10")...)
	return address
}

// expect wants so many messages in a mailbox, each with what matches.
func (h *faultHost) expect(user string, n int, what string) {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "office/here.example", user, "Maildir/new/*"))
	if err != nil || len(files) != n {
		h.t.Errorf("%s has %d messages, %v, want %d", user, len(files), err, n)
	}
	for _, name := range files {
		if text, err := os.ReadFile(name); err != nil || !regexp.MustCompile(what).Match(text) {
			h.t.Errorf("%s, %v: no %s in\n%s", name, err, what, text)
		}
	}
}
