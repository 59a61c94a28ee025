package delivery

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// listed is a list of instructions as one line.
func listed(list []Instruction) string {
	var out []string
	for _, i := range list {
		out = append(out, fmt.Sprintf("%d%s", i.Line, i))
	}
	return strings.Join(out, " ")
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // or the start of what is wrong
	}{
		{"", "0./Maildir/"},
		{"./Maildir/\n", "1./Maildir/"},
		{"# mine\n./Maildir/\n\n./Maildir/.Copies/ \n", "2./Maildir/ 4./Maildir/.Copies/"},
		{"#\n", ""},
		{"./Mailbox\n/var/mail/alice\n/var/mail/a/\n", "1./Mailbox 2/var/mail/alice 3/var/mail/a/"},
		{"&bob@example.net\nCarol@Example.Net\n& dora@example.net", "1&bob@example.net 2&Carol@example.net 3&dora@example.net"},
		{"|vacation --to \"$SENDER\"\r\n", `1|vacation --to "$SENDER"`},
		{"./a//b/../c/\n", "1./a/c/"},
		{"./Maildir/.R&-D/\n./Maildir/.Entw&APw-rfe/\n./R&D/\n./Maildir/.R&D\n",
			"1./Maildir/.R&-D/ 2./Maildir/.Entw&APw-rfe/ 3./R&D/ 4./Maildir/.R&D"},
		{"./Maildir/\n./Maildir/.R&D/\n", `line 2: "&" without a "-" after it`},
		{"./Maildir/.&AGE-/", `line 1: "&AGE-" is not modified UTF-7, 'a' in base64`},
		{"\n./Maildir/\n", "line 1: the first line is blank"},
		{" \n", "line 1: the first line is blank"},
		{"./../bob/Maildir/", "line 1: it leads out"},
		{"./", "line 1: it leads out"},
		{"../x", "line 1: it leads out"},
		{"/", "line 1: it leads out"},
		{"#\n|", "line 2: there is no command"},
		{"+list", "line 1: lines with + are reserved"},
		{"&", "line 1: not an address"},
		{"a b@c", "line 1: not an address"},
		{"|x\x00y", "line 1: it has a NUL"},
		{strings.Repeat("./a/\n", maxSteps+1), "line 1001: too many"},
	} {
		got, err := parse(postoffice.Instructions{Name: ".qmail", Path: "o/alice/.qmail", Text: c.text})
		checkParsed(t, c.text, got, err, c.want)
	}
	exec := postoffice.Instructions{Name: ".qmail", Path: "o/alice/.qmail", Exec: true, Text: "&bob@example.net"}
	got, err := parse(exec)
	checkParsed(t, "executable", got, err, "1&bob@example.net")
	exec.Text += "\n./Maildir/"
	got, err = parse(exec)
	checkParsed(t, "executable", got, err, "line 2: the file is executable")
}

func checkParsed(t *testing.T, text string, got []Instruction, err error, want string) {
	t.Helper()
	text = text[:min(len(text), 60)]
	if err == nil {
		if listed(got) != want {
			t.Errorf("%q: got %q, want %q", text, listed(got), want)
		}
		return
	}
	e := status.Of(err)
	line, why, _ := strings.Cut(want, ": ")
	if e.Class != status.Temporary || !strings.HasPrefix(e.Text, "o/alice/.qmail "+line+": ") || !strings.Contains(e.Text, why) {
		t.Errorf("%q: got %v, want %q", text, err, want)
	}
}

func TestParseForward(t *testing.T) {
	for text, want := range map[string]string{
		"bob@example.net\n":                              "1&bob@example.net",
		"\n\\alice, bob@example.net":                     "2./Maildir/ 2&bob@example.net",
		`"|procmail -a \"x, y\"", bob@example.net`:       `1|procmail -a "x, y" 1&bob@example.net`,
		`|vacation alice`:                                "1|vacation alice",
		`/home/alice/mbox,"/home/alice/two words"`:       "1/home/alice/mbox 1/home/alice/two words",
		"# away\n\"a, b\"@example.net":                   `2&"a, b"@example.net`,
		":include:/home/alice/list":                      "line 1: :include:",
		"bob":                                            "line 1: not an address",
		`"|unfinished, bob@example.net`:                  "line 1: not an address",
		",,":                                             "",
		strings.Repeat("a@b.example, ", 3) + "c@example": "1&a@b.example 1&a@b.example 1&a@b.example 1&c@example",
	} {
		got, err := parse(postoffice.Instructions{Name: ".forward", Path: "o/alice/.qmail", Text: text, Forward: true})
		checkParsed(t, text, got, err, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "./Maildir/", "#\n./a/b/\n", "&x@y", "|p", "./../x/", "./a/../../b/", "\n", ".//", "./a//./b/", `"|a, \"b", c@d`} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, forward bool) {
		list, err := parse(postoffice.Instructions{Name: "x", Text: text, Forward: forward})
		if err != nil && status.Of(err).Class != status.Temporary {
			t.Fatalf("%q: %v is not temporary", text, err)
		}
		for _, i := range list {
			if (i.Kind == Maildir || i.Kind == Mbox) && !strings.HasPrefix(i.Arg, "/") && (!filepath.IsLocal(i.Arg) || i.Arg == ".") {
				t.Fatalf("%q: %q leads out", text, i.Arg)
			}
			if i.Line > 0 && !forward { // what it says of itself reads as the same
				again, why := qmailLine(i.String())
				if why != "" || len(again) != 1 || again[0].Kind != i.Kind || again[0].Arg != i.Arg {
					t.Fatalf("%q: %q reads as %v, %s", text, i, again, why)
				}
			}
		}
	})
}

func TestRules(t *testing.T) {
	const text = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from\n the sea\nList-Id: Go <golang.example>\nX-N: 1\nX-N: 2\n\n"
	for test, want := range map[string]bool{
		"Subject ~ ^grüße from the sea$": true,
		"subject ~ (?-i)grüße":           false,
		"Subject: ~ Grüße":               true,
		"List-Id ~ <golang\\.example>":   true,
		"List-Id !~ golang":              false,
		"X-N ~ ^2$":                      true,
		"X-N !~ 3":                       true,
		"X-None ~ .*":                    false,
		"X-None !~ .*":                   true,
		"$SENDER ~ @example\\.net$":      true,
		"$RECIPIENT ~ ^alice\\+":         true,
		"$RECIPIENT !~ ^bob":             true,
		"$NOTHING ~ .":                   false,
		"Subject ~ ":                     true,
		"Subject  ~   the sea":           false, // one blank after ~ is not part of the expression, more are
	} {
		test1, err := ParseTest(test)
		if err != nil {
			t.Errorf("%s: %v", test, err)
			continue
		}
		o, _ := newOffice(t, "example.org/alice")
		rule := Rule{Test: test1, Folder: "Found"}
		got := deliverTo(t, o, text, "s@example.net", "alice+x@example.org", Options{Rules: []Rule{rule}})
		if strings.Contains(got, ".Found") != want {
			t.Errorf("%s: went to %s, want a match: %v", test, got, want)
		}
	}
	for _, bad := range []string{"", "Subject", "Subject ~ (", "~ x", "Sub ject ~ x", "Subject = x", "Subject ~ " + strings.Repeat("x", maxPattern)} {
		if _, err := ParseTest(bad); err == nil || status.Of(err).Exit != int(status.Usage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
