//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/queue"
	"pennypost/internal/queue/report"
)

// desk is an office with this program as its sendmail, for callers.
type desk struct {
	dir      string // where the caller runs, its HOME
	bin      string // sendmail, mailq and newaliases
	sendmail string
	office   string
	env      []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	programs := mailtest.Build(t, "smtpsend", "smtpd", "deliver")
	dir := t.TempDir()
	d := &desk{dir: dir, bin: filepath.Join(dir, "bin"), office: filepath.Join(dir, "office")}
	d.sendmail = filepath.Join(d.bin, "sendmail")
	for _, path := range []string{d.bin, filepath.Join(d.office, "example.org", "alice"), filepath.Join(d.office, "example.org", "bob")} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range sendmailNames {
		if err := os.Symlink(filepath.Join(programs, "smtpsend"), filepath.Join(d.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("alice", filepath.Join(d.office, "example.org", "root")); err != nil {
		t.Fatal(err)
	}
	d.env = []string{"HOME=" + dir, "PATH=" + d.bin + ":" + programs + ":/usr/sbin:/usr/bin:/bin", "TMPDIR=" + dir,
		"LC_ALL=C.UTF-8", "TERM=dumb", "MAIL_OFFICE=" + d.office}
	return d
}

// run runs a program here and returns what it said and its exit status.
func (d *desk) run(t *testing.T, stdin, program string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = d.dir, d.env, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", program, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// queued is the one letter in the queue.
func (d *desk) queued(t *testing.T) (*queue.Entry, string) {
	t.Helper()
	q, err := queue.Open(filepath.Join(d.office, "queue"), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	ids, err := q.IDs()
	if err != nil || len(ids) != 1 {
		t.Fatalf("there are %d entries, %v", len(ids), err)
	}
	l, err := q.Lock(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	m, err := l.Message()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	text, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return &l.Entry, string(text)
}

// letter is the one letter that alice has when the queue was run.
func (d *desk) letter(t *testing.T) string {
	t.Helper()
	if out, exit := d.run(t, "", d.sendmail, "-q"); exit != 0 {
		t.Fatalf("sendmail -q: exit %d\n%s", exit, out)
	}
	if out, exit := d.run(t, "", filepath.Join(d.bin, "mailq")); out != "Mail queue is empty\n" || exit != 0 {
		t.Errorf("mailq: exit %d\n%s", exit, out)
	}
	return d.mailbox(t)
}

// mailbox is the one letter in alice's Maildir.
func (d *desk) mailbox(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(d.office, "example.org", "alice", "Maildir", "new", "*"))
	if len(found) != 1 {
		t.Fatalf("alice has %d letters", len(found))
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// caller is a program of others, or the exact call it makes.
type caller struct {
	name, program string // program: "" = sendmail itself
	args          []string
	stdin         string
	prepare       func(t *testing.T, d *desk)
	want          []string // each is in the letter
	sender        string   // in the envelope, when the caller names one
	notify        string   // NOTIFY, when the caller asks
}

// callers are what uses a sendmail on a Debian machine. SENDMAIL in an argument is the path of ours.
var callers = []caller{
	{name: "git send-email", program: "git", prepare: patch, sender: "bounce@example.net",
		want: []string{"Subject: [PATCH] one", "\n+hello\n", "From: Me <me@example.net>"},
		args: []string{"send-email", "--quiet", "--confirm=never", "--suppress-cc=all", "--from=Me <me@example.net>",
			"--to=alice@example.org",
			"--envelope-sender=bounce@example.net", "--sendmail-cmd=SENDMAIL", "0001-one.patch"}},
	{name: "mutt", program: "mutt", sender: "me@example.net", notify: "FAILURE,DELAY", stdin: "body\n.\nmore\n",
		want: []string{"Subject: hi", "\nbody\n.\nmore\n", "X-Own: 1\n"},
		args: []string{"-n", "-F", "/dev/null", "-e",
			"set sendmail='SENDMAIL -oem -oi' copy=no use_envelope_from from=me@example.net " +
				"dsn_notify='failure,delay' dsn_return=hdrs; my_hdr X-Own: 1",
			"-s", "hi", "--", "alice@example.org"}},
	{name: "s-nail", program: "s-nail", sender: "me@example.net", stdin: "body\n", want: []string{"Subject: hi", "\nbody\n",
		"\nTo: alice@example.org\n"},
		args: []string{"-:/", "-S", "mta=SENDMAIL", "-s", "hi", "-r", "me@example.net", "alice@example.org"}},
	{name: "bsd-mailx", program: "bsd-mailx", stdin: "body\n", want: []string{"Subject: hi", "\nbody\n", "To: root"},
		prepare: func(t *testing.T, d *desk) {
			if err := os.WriteFile(filepath.Join(d.dir,
				".mailrc"), []byte("set sendmail="+d.sendmail+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, args: []string{"-s", "hi", "root"}},
	{name: "PHP", program: "php", sender: "bounce@example.net", want: []string{"Subject: hi", "\nX-Mine: yes\n",
		"\nbody\nmore"},
		args: []string{"-n", "-d", "sendmail_path=SENDMAIL -t -i", "-r",
			`exit(mail("alice@example.org", "hi", "body\r\nmore", "From: me@example.net\r\nBcc: bob\r\nX-Mine: yes",
				"-fbounce@example.net") ? 0 : 1);`}},
	{name: "cron",
		stdin: "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@h> job\nContent-Type: text/plain; charset=UTF-8\n\n 1%\r 2%\n",
		args:  []string{"-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"},
		want:  []string{"From: root@example.org (Cron Daemon)\n", "\n 1%\n 2%\n"}},
	{name: "at", stdin: "Subject: Output from your job\nTo: root\n\ndone\n", args: []string{"-i", "root"},
		want: []string{"To: root@example.org\n", "\ndone\n"}},
	{name: "logwatch", stdin: "To: root\nFrom: Logwatch\nSubject: Logwatch for h\n\n report\n", args: []string{"-t"},
		want: []string{"From: Logwatch@example.org\n", "\n report\n"}},
	{name: "mdadm", stdin: "From: mdadm monitoring <root>\nTo: root\nSubject: Fail event\n\nold disk\n",
		args: []string{"-oi", "-t"},
		want: []string{"From: mdadm monitoring <root@example.org>\n"}},
	{name: "Emacs", stdin: "To: alice@example.org\nSubject: x\n\nbody\n", args: []string{"-oi", "-f", "me@example.net",
		"-t"}, want: []string{"Message-ID: <"}},
	{name: "a web form with old habits", stdin: "To: alice@example.org\nBcc: bob\nSubject: x\n\n.hidden\n.\nnot this\n",
		args: []string{"-t", "-oee", "-odb"},
		want: []string{"\n.hidden\n"}},
}

// patch makes a repository with one patch in it.
func patch(t *testing.T, d *desk) {
	if out, exit := d.run(t, "", "git", "send-email", "-h"); strings.Contains(out,
		"not a git command") || strings.Contains(out, "Mail::Address") {
		t.Skipf("peer git send-email is not installed: exit %d", exit)
	}
	t.Helper()
	script := `git init -q . && git config user.name Me && git config user.email me@example.net && git commit -q --allow-empty -m zero &&
		echo hello >file && git add file && git commit -q -m one && git format-patch -q -1`
	if out, exit := d.run(t, "", "sh", "-c", script); exit != 0 {
		t.Fatal(out)
	}
}

// Each caller sends, notices nothing odd, and the letter arrives.
func TestCallersOfSendmail(t *testing.T) {
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			program := d.sendmail
			if c.program != "" {
				program = mailtest.Peer(t, c.program)
			}
			if c.prepare != nil {
				c.prepare(t, d)
			}
			var args []string
			for _, a := range c.args {
				args = append(args, strings.ReplaceAll(a, "SENDMAIL", d.sendmail))
			}
			if out, exit := d.run(t, c.stdin, program, args...); exit != 0 || strings.Contains(out, "sendmail:") {
				t.Fatalf("exit %d\n%s", exit, out)
			}
			e, text := d.queued(t)
			if got := e.Envelope.Sender.String(); c.sender != "" && got != c.sender {
				t.Errorf("the sender is %q, want %q", got, c.sender)
			}
			if got := e.Recipients[0].Notify; got != c.notify {
				t.Errorf("NOTIFY is %q, want %q", got, c.notify)
			}
			for _, w := range append(c.want, "Received: by example.org (from user ") {
				if !strings.Contains(text, w) {
					t.Errorf("%q is not in\n%s", w, text)
				}
			}
			if header, _, _ := strings.Cut(text, "\n\n"); strings.Contains(header, "Bcc:") || strings.Contains(text,
				"not this") {
				t.Errorf("there is more than there should be in\n%s", text)
			}
			if got := d.letter(t); !strings.HasSuffix(got, text) {
				t.Errorf("what arrives is\n%s", got)
			}
		})
	}
}

// The example works as it stands.
func TestExampleSendmail(t *testing.T) {
	d := newDesk(t)
	example, err := filepath.Abs("../../examples/sendmail.sh")
	if err != nil {
		t.Fatal(err)
	}
	out, exit := d.run(t, "Subject: hi\n\nbody\n", "sh", example, d.office, filepath.Join(d.dir, "own"), "root")
	if exit != 0 || !strings.HasPrefix(out, "root@example.org: mailbox alice@example.org\n") {
		t.Fatalf("exit %d\n%s", exit, out)
	}
	if text := d.letter(t); !strings.Contains(text, "Subject: hi\n\nbody\n") {
		t.Errorf("got\n%s", text)
	}
	if out, exit := d.run(t, "Subject: hi\n\nbody\n", "sh", example, d.office, filepath.Join(d.dir, "own"),
		"nobody"); exit != 67 {
		t.Errorf("to nobody: exit %d\n%s", exit, out)
	}
}

// The dialog of alpine and nmh, who keep a sendmail -bs.
func TestSpeak(t *testing.T) {
	d := newDesk(t)
	t.Setenv("MAIL_OFFICE", d.office)
	mailtest.Dialog(t, mailtest.Child(t, d.sendmail, "-bs", "-odi", "-oem"), `
		<- 220 ...
		-> EHLO localhost
		<- 250-...
		<- 250-PIPELINING
		<- 250-SIZE ...
		<- 250-VRFY
		<- 250-STARTTLS
		<- 250-ENHANCEDSTATUSCODES
		<- 250-8BITMIME
		<- 250-DSN
		<- 250-SMTPUTF8
		<- 250 CHUNKING
		-> MAIL FROM:<me@example.org> BODY=8BITMIME RET=HDRS ENVID=7
		<- 250 ...
		-> RCPT TO:<nobody@example.org>
		<- 550 5.1.1 ...
		-> RCPT TO:<alice@example.org> NOTIFY=SUCCESS,FAILURE
		<- 250 ...
		-> DATA
		<- 354 ...
		-> Subject: hi
		->
		-> ..body
		-> .
		<- 250 ...
		-> QUIT
		<- 221 ...
		<- EOF`)
	e, text := d.queued(t)
	if e.Envelope.Ret != "HDRS" || e.Envelope.EnvID != "7" || e.Recipients[0].Notify != "SUCCESS,FAILURE" || len(e.Recipients) != 1 {
		t.Errorf("got %+v", e)
	}
	if !strings.Contains(text, "\nMessage-ID: <") || !strings.HasSuffix(text,
		"Subject: hi\n\n.body\n") || !report.Submitted(e.Envelope) {
		t.Errorf("got\n%s", text)
	}
}

// A program with other rights than its user may not be led astray by his environment.
func TestForeignEnvironment(t *testing.T) {
	setpriv := mailtest.Peer(t, "setpriv")
	if os.Getuid() != 0 {
		t.Skip("to have a real user that is not the effective one we must be root")
	}
	d := newDesk(t)
	d.env = append(d.env, "MAIL_SUBMIT=touch "+filepath.Join(d.dir, "led-astray"))
	if out, exit := d.run(t, "\n", d.sendmail, "root"); exit != 0 {
		t.Fatalf("without: exit %d\n%s", exit, out)
	}
	if err := os.Remove(filepath.Join(d.dir, "led-astray")); err != nil {
		t.Fatal(err)
	}
	unshare := mailtest.Peer(t, "unshare")
	out, exit := d.run(t, "\n", unshare, "-m", "sh", "-c", `mount -t tmpfs none /srv && exec "$@"`, "sh",
		setpriv, "--ruid=65534", "--inh-caps=-all", d.sendmail, "root")
	if _, err := os.Stat(filepath.Join(d.dir, "led-astray")); err == nil || exit == 0 {
		t.Errorf("exit %d, the variables were followed\n%s", exit, out)
	}
	if !strings.Contains(out, "/srv/mail") {
		t.Skipf("cannot change users here: %s", out)
	}
}
