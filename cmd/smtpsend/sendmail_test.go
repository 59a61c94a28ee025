package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
)

// What callers really write, and what is wrong.
func TestSendmailOptions(t *testing.T) {
	null := ""
	tests := []struct {
		caller, args string
		want         sendmailOptions
		sender       string
	}{
		{"cron", "-FCronDaemon -i -B8BITMIME -oem user", sendmailOptions{fullName: "CronDaemon",
			wholeInput: true, body: "8BITMIME", recipients: []string{"user"}}, "-"},
		{"mutt", "-oem -oi -f a@x -N success,failure -R hdrs -- b@y c@z", sendmailOptions{wholeInput: true,
			notify: "SUCCESS,FAILURE", ret: "HDRS", recipients: []string{"b@y", "c@z"}}, "a@x"},
		{"git", "-i b@y", sendmailOptions{wholeInput: true, recipients: []string{"b@y"}}, "-"},
		{"s-nail", "-i -m -v -r a@x -- b@y", sendmailOptions{wholeInput: true, verbose: true,
			recipients: []string{"b@y"}}, "a@x"},
		{"PHP", "-t -i -fa@x", sendmailOptions{fromHeader: true, wholeInput: true}, "a@x"},
		{"cluster", "-tivfa@x", sendmailOptions{fromHeader: true, wholeInput: true, verbose: true}, "a@x"},
		{"Emacs", "-oi -f a@x -t", sendmailOptions{fromHeader: true, wholeInput: true}, "a@x"},
		{"at", "-i user", sendmailOptions{wholeInput: true, recipients: []string{"user"}}, "-"},
		{"logwatch", "-t", sendmailOptions{fromHeader: true}, "-"},
		{"nmh", "-bs -odi -oem", sendmailOptions{mode: 's'}, "-"},
		{"null sender", "-f <> b@y", sendmailOptions{recipients: []string{"b@y"}}, "<>"},
		{"no effect",
			"-Ac -Am -C file -X log -L tag -h 3 -O k=v -p proto -d0.1 -n -m -x -U -G -E -J -o7 -om -odb -odq -oee -oep -oeq -e m b@y", sendmailOptions{recipients: []string{"b@y"}}, "-"},
		{"dots by -O", "-O IgnoreDots=true b@y", sendmailOptions{wholeInput: true, recipients: []string{"b@y"}}, "-"},
		{"flush", "-q", sendmailOptions{mode: 'q'}, "-"},
		{"flush some", "-qRexample.org", sendmailOptions{mode: 'q', flush: []string{"--recipient", "example.org"}}, "-"},
		{"list", "-bp", sendmailOptions{mode: 'p'}, "-"},
		{"a lone dash is an address", "-i -", sendmailOptions{wholeInput: true, recipients: []string{"-"}}, "-"},
		{"envelope id", "-V a=b c", sendmailOptions{envid: "a+3Db", recipients: []string{"c"}}, "-"},
		{"envelope id in xtext", "-V a+3Db c", sendmailOptions{envid: "a+3Db", recipients: []string{"c"}}, "-"},
	}
	for _, tt := range tests {
		t.Run(tt.caller, func(t *testing.T) {
			o, err := parseSendmail("sendmail", strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			got := "-"
			if o.sender != nil {
				got = *o.sender
			}
			if tt.want.mode == 0 {
				tt.want.mode = 'm'
			}
			o.sender, tt.want.sender = &null, &null
			if got != tt.sender || !equalOptions(*o, tt.want) {
				t.Errorf("got %+v, sender %q, want %+v, sender %q", *o, got, tt.want, tt.sender)
			}
		})
	}
	for _, args := range []string{"-Z x", "-f", "-bd", "-bx", "-q15m", "-qI", "-N often x", "-N never,delay x", "-R some x",
		"-B 9BIT x", "b@y -f a@x", "-V", "-oi -V"} {
		if o, err := parseSendmail("sendmail", strings.Fields(args)); err == nil {
			t.Errorf("%s: got %+v, want an error", args, o)
		}
	}
	for name, mode := range map[string]byte{"mailq": 'p', "newaliases": 'i', "sendmail": 'm'} {
		if o, err := parseSendmail(name, nil); err != nil || o.mode != mode {
			t.Errorf("%s: got %v, %v", name, o, err)
		}
	}
}

func equalOptions(a, b sendmailOptions) bool {
	list := func(o sendmailOptions) string { return strings.Join(append(o.flush, o.recipients...), "\n") }
	return a.mode == b.mode && a.fromHeader == b.fromHeader && a.wholeInput == b.wholeInput && a.fullName == b.fullName &&
		a.body == b.body && a.notify == b.notify && a.ret == b.ret && a.envid == b.envid && a.verbose == b.verbose && list(a) == list(b)
}

func TestReadLetter(t *testing.T) {
	long := strings.Repeat("x", 1200)
	tests := []struct {
		name, in string
		whole    bool
		want     string
	}{
		{"as it is", "A: b\n\nc\n", true, "A: b\n\nc\n"},
		{"a dot ends it", "A: b\n\nc\n.\nd\n", false, "A: b\n\nc\n"},
		{"a dot with CRLF ends it", "A: b\r\n\r\nc\r\n.\r\nd\r\n", false, "A: b\n\nc\n"},
		{"a dot that is text", "A: b\n\nc\n.\nd\n", true, "A: b\n\nc\n.\nd\n"},
		{"dots that are text anyway", "\n..\n. \n", false, "\n..\n. \n"},
		{"no line end", "A: b", true, "A: b\n"},
		{"From_ line", "From me Tue\nA: b\n", true, "A: b\n"},
		{"From_ line in the body", "A: b\n\nFrom me\n", true, "A: b\n\nFrom me\n"},
		{"lone CR", "A: b\rc\n\nd\re\n", true, "A: b c\n\nd\ne\n"},
		{"a lone CR begins no body", "A: b\n\r\rBcc: c\n\n", true, "A: b\n  Bcc: c\n\n"},
		{"NUL", "A: b\x00\n\n\x00c\n", true, "A: b\n\nc\n"},
		{"empty", "", true, ""},
		{"long line", "A: b\n\n" + long + "\n", true, "A: b\n\n" + long[:998] + "\n" + long[998:] + "\n"},
		{"long line with a blank", "\n" + long[:900] + " " + long[:200] + "\n", true, "\n" + long[:900] + " \n" + long[:200] + "\n"},
		{"long header", "A: " + long[:900] + " " + long[:200] + "\n", true, "A: " + long[:900] + "\n " + long[:200] + "\n"},
		{"long line of UTF-8", "\n" + long[:997] + "üü\n", true, "\n" + long[:997] + "\nüü\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				m, err := readLetter(r, tt.whole)
				if err != nil {
					t.Fatal(err)
				}
				if got, _ := io.ReadAll(m.Reader()); string(got) != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
	if _, err := readLetter(iotest.ErrReader(io.ErrClosedPipe), true); err == nil {
		t.Error("a read that fails gives a letter")
	}
}

// Whatever comes in, what goes out can be mailed, and it does not depend on how it is read. A letter that can be mailed stays.
func FuzzReadLetter(f *testing.F) {
	f.Add("A: b\r\n\r\nc\rd\x00\n.\n", false)
	f.Add(strings.Repeat("ü", 600)+" "+strings.Repeat("x ", 700), true)
	f.Fuzz(func(t *testing.T, in string, whole bool) {
		read := func(r io.Reader, whole bool) []byte {
			m, err := readLetter(r, whole)
			if err != nil {
				t.Fatal(err)
			}
			out, _ := io.ReadAll(m.Reader())
			return out
		}
		out := read(strings.NewReader(in), whole)
		if bytes.ContainsAny(out, "\r\x00") {
			t.Errorf("%q has a CR or NUL", out)
		}
		for line := range bytes.Lines(out) {
			if len(line) > maxTextLine+1 || !bytes.HasSuffix(line, []byte("\n")) {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
		if again := read(iotest.HalfReader(strings.NewReader(in)), whole); !bytes.Equal(again, out) {
			t.Errorf("got %q in pieces, %q at once", again, out)
		}
		if again := read(bytes.NewReader(out), true); !bytes.Equal(again, out) && !bytes.HasPrefix(out, []byte("From ")) && !bytes.HasPrefix(out, []byte(">From ")) {
			t.Errorf("got %q of %q", again, out)
		}
	})
}

func TestComplete(t *testing.T) {
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	w := &writer{host: "h.example", domain: "d.example", user: "me", uid: 1000, fullName: "Me, myself"}
	const received = "Received: by h.example (from user 1000 by sendmail);\n Tue, 24 Nov 2026 08:00:00 +0000\n"
	const id = "Message-ID: <ID@h.example>\n"
	tests := []struct{ name, in, want string }{
		{"nothing there", "hello\n",
			received + "From: \"Me, myself\" <me@d.example>\nDate: Tue, 24 Nov 2026 08:00:00 +0000\n" + id + "\nhello\n"},
		{"all there", "From: a@x\nDate: d\nMessage-ID: i\nSubject: s\n\nhello\n",
			received + "From: a@x\nDate: d\nMessage-ID: i\nSubject: s\n\nhello\n"},
		{"bare names, Bcc", "From: root (Cron)\nTo: a,\n b@y\nbcc: secret\nReturn-Path: <x>\nDate: d\nMessage-ID: i\n\n",
			received + "From: root@d.example (Cron)\nTo: a@d.example,\n b@y\nDate: d\nMessage-ID: i\n\n"},
		{"resent", "Resent-To: b\nResent-Bcc: c\nFrom: a@x\nDate: d\nMessage-ID: i\n\n", received +
			"Resent-From: \"Me, myself\" <me@d.example>\nResent-Date: Tue, 24 Nov 2026 08:00:00 +0000\nResent-" + id + "Resent-To: b@d.example\nFrom: a@x\nDate: d\nMessage-ID: i\n\n"},
		{"a line that is no field begins the body", "From: a@x\nDate: d\nMessage-ID: i\nhello world\nBcc: text\n",
			received + "From: a@x\nDate: d\nMessage-ID: i\n\nhello world\nBcc: text\n"},
		{"no body", "From: a@x\nDate: d\nMessage-ID: i\n", received + "From: a@x\nDate: d\nMessage-ID: i\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message.Bytes([]byte(tt.in))
			fields, header, err := letterHeader(m)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(w.complete(m, fields, header, envelope.Address{Local: "me", Domain: "d.example"}, now).Reader())
			if s := hideID(string(got)); s != tt.want {
				t.Errorf("got\n%s\nwant\n%s", s, tt.want)
			}
		})
	}
}

// hideID puts ID for what is random in a Message-ID of ours.
func hideID(s string) string {
	before, rest, ok := strings.Cut(s, "Message-ID: <")
	_, after, ours := strings.Cut(rest, "@")
	if !ok || !ours {
		return s
	}
	return before + "Message-ID: <ID@" + after
}

func TestNamedRecipients(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"all three", "To: a@x, B <b@x>\nSubject: s\nCC: c\nBcc: d@x\n\nTo: e@x\n", "a@x b@x c d@x"},
		{"resent goes before", "To: a@x\nResent-To: b@x\nResent-Bcc: c@x\n\n", "b@x c@x"},
		{"a group of nobody", "To: undisclosed-recipients:;\nBcc: a@x\n\n", "a@x"},
		{"one that cannot be read", "To: Joe Blow\nBcc: a@x\n\n", "!"},
		{"none", "Subject: s\n\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fields, _, err := letterHeader(message.Bytes([]byte(tt.in)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			all, err := namedRecipients(fields)
			for _, a := range all {
				got = append(got, a.String())
			}
			if err != nil {
				got = []string{"!"}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %q (%v), want %q", s, err, tt.want)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name, text string
		mode       os.FileMode
		want       string // domain, or what the error has in it
	}{
		{"none", "", 0, "only.example"},
		{"a domain", "# ours\n\nMAIL_DOMAIN=set.example\n", 0o644, "set.example"},
		{"no shell", "MAIL_DOMAIN=$(id).example\n", 0o600, "MAIL_DOMAIN"},
		{"unknown", "MAIL_DOMIAN=x.example\n", 0o600, "unknown setting"},
		{"no setting", "LD_PRELOAD=/x\n", 0o600, "unknown setting"},
		{"no form", "hello\n", 0o600, "sendmail.env:1"},
		{"writable by others", "MAIL_DOMAIN=set.example\n", 0o666, "others than its owner"},
		{"too big", strings.Repeat("#\n", maxSettings), 0o600, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			office := t.TempDir()
			if err := os.Mkdir(filepath.Join(office, "only.example"), 0o700); err != nil {
				t.Fatal(err)
			}
			if tt.mode != 0 {
				file := filepath.Join(office, settingsFile)
				if err := os.WriteFile(file, []byte(tt.text), tt.mode); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(file, tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("MAIL_OFFICE", office)
			for _, name := range settingNames {
				t.Setenv(name, "") // so that it is put back
				os.Unsetenv(name)
			}
			var got string
			s, err := readSettings()
			if err == nil {
				var w *writer
				if w, err = s.writer(""); err == nil {
					got = w.domain
				}
			}
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

var (
	pageItem    = regexp.MustCompile(`(?m)^\.It Fl (\w)`)
	pageItemAnd = regexp.MustCompile(`(?m)^\.It Fl .*, Fl (\w)`)
	noEffect    = regexp.MustCompile(`(?s)without effect.*?\n\.Fl (.*?)\n\.Fl o Ns`)
)

// The page has the options that there are, those without effect in their list.
func TestSendmailPage(t *testing.T) {
	src, err := os.ReadFile("../../man/sendmail.8")
	if err != nil {
		t.Fatal(err)
	}
	page := map[byte]string{}
	for _, re := range []*regexp.Regexp{pageItem, pageItemAnd} {
		for _, m := range re.FindAllStringSubmatch(string(src), -1) {
			page[m[1][0]] = "an item"
		}
	}
	list := noEffect.FindStringSubmatch(string(src))
	if list == nil {
		t.Fatal("no list of options without effect")
	}
	for _, word := range strings.FieldsFunc(list[1], func(r rune) bool { return strings.ContainsRune(" ,;\n", r) }) {
		if len(word) == 1 && page[word[0]] == "" {
			page[word[0]] = "without effect"
		}
	}
	for letter, option := range sendmailTable {
		want := "an item"
		if option.set == nil {
			want = "without effect"
		}
		if letter == 'I' || letter == 'O' { // other names of -bi and -oi
			want = page[letter]
		}
		if page[letter] != want {
			t.Errorf("-%c is %q in the page, want %q", letter, page[letter], want)
		}
		delete(page, letter)
	}
	if len(page) > 0 {
		t.Errorf("the page has more: %v", page)
	}
}
