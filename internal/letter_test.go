package internal_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
)

// letters are messages that have broken mail systems, with LF line ends.
func letters() map[string][]byte {
	attachment := make([]byte, 20<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range attachment {
		attachment[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[random.Uint32()>>26]
		if i%77 == 76 {
			attachment[i] = '\n'
		}
	}
	attachment[len(attachment)-1] = '\n'
	return map[string][]byte{
		"plain":       []byte("Subject: x\nFrom: a@b.org\n\nhello\n"),
		"20 MB":       append([]byte("Subject: big\n\n"), attachment...),
		"8-bit":       []byte("Subject: gr\xfcn\nX-\xff: y\n\n\x80\x81\xfe\n"),
		"no header":   []byte("this is\nno header\n"),
		"zero bytes":  {},
		"only header": []byte("Subject: x\n"),
		"dots":        []byte("Subject: x\n\n.\n..\n.x\n\n.\n"),
		"From lines":  []byte("Subject: x\n\nFrom x\n>From y\n\nFrom a@b Tue Nov 24 12:00:00 2026\n>>From z\n\n\n\n"),
		"long line":   []byte("Subject: x\n\n" + strings.Repeat("y", 998) + "\n"),
		"Status":      []byte("Status: RO\nX-Status: F\nSubject: x\n\nStatus: R\n"),
	}
}

// Every letter goes through smtpsend, smtpd and deliver into a Maildir, and comes out of popd, imapd and mboxconv, as it was.
func TestLettersGoTheWholeWay(t *testing.T) {
	bin := mailtest.Build(t, programs...)
	for name, letter := range letters() {
		t.Run(name, func(t *testing.T) {
			office := t.TempDir()
			if err := os.MkdirAll(filepath.Join(office, "example.org/alice"), 0o700); err != nil {
				t.Fatal(err)
			}
			serve := fmt.Sprintf("%s/smtpd --office %s --max-size 40000000 -- %s/deliver --office %s", bin, office, bin, office)
			out := run(t, letter, bin+"/smtpsend", "-f", "carol@example.com", "--pipe", serve, "alice@example.org")
			if !bytes.HasPrefix(out, []byte("K\talice@example.org\t")) {
				t.Fatalf("smtpsend: %q", out)
			}
			maildir := filepath.Join(office, "example.org/alice/Maildir")
			files, _ := filepath.Glob(maildir + "/new/*")
			if len(files) != 1 {
				t.Fatalf("files: %v", files)
			}
			stored, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			trace, ok := bytes.CutSuffix(stored, letter)
			if !ok || !regexp.MustCompile(`\A(Return-Path|Delivered-To|Received): .*\n([\t ].*\n|(Return-Path|Delivered-To|Received): .*\n)*\z`).Match(trace) {
				t.Fatalf("stored is not trace and letter: %.300q", stored)
			}
			readByPOP(t, bin, maildir, stored)
			readByIMAP(t, bin, maildir, stored)
			convert(t, bin, maildir, stored)
		})
	}
}

func run(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	in := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(in, stdin, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = f, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out, stderr.String())
	}
	return out
}

func readByPOP(t *testing.T, bin, maildir string, want []byte) {
	t.Helper()
	out := run(t, []byte("RETR 1\r\nQUIT\r\n"), bin+"/popd", "--maildir", maildir)
	_, out, _ = bytes.Cut(out, []byte("\r\n")) // greeting
	answer, body, _ := bytes.Cut(out, []byte("\r\n"))
	body, _, ok := bytes.Cut(append([]byte("\r\n"), body...), []byte("\r\n.\r\n"))
	if !bytes.HasPrefix(answer, []byte("+OK")) || !ok {
		t.Fatalf("POP3: %q", answer)
	}
	got := bytes.ReplaceAll(body, []byte("\r\n."), []byte("\r\n"))
	got = bytes.ReplaceAll(append(got, "\r\n"...), []byte("\r\n"), []byte("\n"))[1:]
	if !bytes.Equal(got, want) {
		t.Errorf("POP3: got %d bytes, want %d", len(got), len(want))
	}
}

func readByIMAP(t *testing.T, bin, maildir string, want []byte) {
	t.Helper()
	out := run(t, []byte("a EXAMINE INBOX\r\nb FETCH 1 (RFC822.SIZE BODY.PEEK[])\r\nc LOGOUT\r\n"), bin+"/imapd", "--maildir", maildir)
	m := regexp.MustCompile(`RFC822\.SIZE (\d+) BODY\[\] \{(\d+)\}\r\n`).FindSubmatchIndex(out)
	if m == nil {
		t.Fatalf("IMAP: %.500q", out)
	}
	size, _ := strconv.Atoi(string(out[m[4]:m[5]]))
	if string(out[m[2]:m[3]]) != string(out[m[4]:m[5]]) {
		t.Errorf("RFC822.SIZE %s, literal %s", out[m[2]:m[3]], out[m[4]:m[5]])
	}
	got := bytes.ReplaceAll(out[m[1]:m[1]+size], []byte("\r\n"), []byte("\n"))
	if !bytes.Equal(got, want) {
		t.Errorf("IMAP: got %d bytes, want %d", len(got), len(want))
	}
}

func convert(t *testing.T, bin, maildir string, want []byte) {
	t.Helper()
	dir := t.TempDir()
	run(t, nil, bin+"/mboxconv", "maildir:"+maildir, "mbox:"+dir+"/box")
	run(t, nil, bin+"/mboxconv", "mbox:"+dir+"/box", "maildir:"+dir+"/back")
	back, _ := filepath.Glob(dir + "/back/*/*")
	if len(back) != 1 {
		t.Fatalf("there and back: %v", back)
	}
	got, err := os.ReadFile(back[0])
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("mbox and back: got %d bytes, want %d, %v", len(got), len(want), err)
	}
}

// A letter that is cut off at any byte is not delivered at all, and smtpd has not said that it took it.
func TestCutLetterIsNotDelivered(t *testing.T) {
	bin := mailtest.Build(t, programs...)
	office := t.TempDir()
	if err := os.MkdirAll(filepath.Join(office, "example.org/alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "Subject: x\r\n\r\nhello\r\n.\r\n"
	for cut := range len(text) {
		cmd := exec.Command(bin+"/smtpd", "--office", office)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, stdout, "220 ")
		io.WriteString(stdin, "HELO me\r\n")
		await(t, stdout, "250 ")
		io.WriteString(stdin, "MAIL FROM:<a@b.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
		await(t, stdout, "354 ")
		io.WriteString(stdin, text[:cut])
		stdin.Close()
		said, err := io.ReadAll(stdout)
		if err != nil || bytes.Contains(said, []byte("queued")) {
			t.Errorf("cut at %d: acknowledged: %q, %v", cut, said, err)
		}
		cmd.Wait() // its exit status is not the matter here
	}
	if files, _ := filepath.Glob(office + "/example.org/alice/Maildir/[nc]*/*"); len(files) != 0 {
		t.Errorf("delivered: %v", files)
	}
}

// await reads until a line of word has come.
func await(t *testing.T, r io.Reader, word string) {
	t.Helper()
	var all []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(all, []byte(word)) || !bytes.HasSuffix(all, []byte("\n")) {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			t.Fatalf("got %q and %v, want %q", all, err, word)
		}
	}
}
