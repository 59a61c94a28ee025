package mbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	gombox "github.com/emersion/go-mbox"

	"pennypost/internal/status"
)

var day = time.Date(2026, 11, 24, 5, 40, 20, 0, time.UTC)

// onlyReader hides that a reader can seek.
type onlyReader struct{ io.Reader }

func write(t testing.TB, f Format, messages ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, f)
	for _, m := range messages {
		if err := w.WriteMessage("a@b.org", day, onlyReader{strings.NewReader(m)}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func read(t testing.TB, f Format, rule Rule, r io.Reader) (out []string) {
	t.Helper()
	rd := NewReader(r, f)
	rd.SetRule(rule)
	for {
		m, err := rd.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
}

func TestWrite(t *testing.T) {
	const line = "From a@b.org Tue Nov 24 05:40:20 2026"
	tests := []struct {
		name, message string
		format        Format
		want          string
	}{
		{"plain", "A: b\n\ntext\n", RD, line + "\nA: b\n\ntext\n\n"},
		{"empty", "", RD, line + "\n\n"},
		{"no final newline", "text", RD, line + " " + NoNewline + "\ntext\n\n"},
		{"mboxrd quotes all depths", "From a\n>From b\n>>From c\n> From\nFrom\n", RD,
			line + "\n>From a\n>>From b\n>>>From c\n> From\nFrom\n\n"},
		{"mboxo quotes one", "From a\n>From b\n", O, line + "\n>From a\n>From b\n\n"},
		{"CRLF text", "A: b\r\n\r\nFrom x\r\n", RD, line + "\nA: b\r\n\r\n>From x\r\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := write(t, tt.format, tt.message); string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWriteRawKeepsTheLine(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, RD)
	if err := w.WriteRaw([]byte("From x y  Tue Nov 24 05:40:20 2026 remote from z\r\n"), strings.NewReader("hi\r\n")); err != nil {
		t.Fatal(err)
	}
	if want := "From x y  Tue Nov 24 05:40:20 2026 remote from z\r\nhi\r\n\r\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	for _, line := range []string{"", "Subject: x", "From a\nFrom b", "From " + strings.Repeat("x", maxFrom)} {
		err := w.WriteRaw([]byte(line), strings.NewReader(""))
		var e *status.Error
		if !errors.As(err, &e) || e.Exit != int(status.Data) {
			t.Errorf("line of %d bytes: got %v, want an error of kind Data", len(line), err)
		}
	}
}

func TestFromLine(t *testing.T) {
	tests := []struct {
		sender string
		date   time.Time
		want   string
	}{
		{"a@b", day, "From a@b Tue Nov 24 05:40:20 2026\n"},
		{"a@b", day.In(time.FixedZone("", 3600*9)), "From a@b Tue Nov 24 05:40:20 2026\n"},
		{"", time.Unix(0, 0), "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"},
		{"\"a b\"@c\r\nFrom x\t", day, "From \"a-b\"@c--From-x- Tue Nov 24 05:40:20 2026\n"},
		{"a", time.Time{}, "From a Thu Jan  1 00:00:00 1970\n"},
		{"a", time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), "From a Thu Jan  1 00:00:00 1970\n"},
		{strings.Repeat("x", 9999), day, "From " + strings.Repeat("x", maxSender) + " Tue Nov 24 05:40:20 2026\n"},
	}
	for _, tt := range tests {
		if got := string(FromLine(tt.sender, tt.date)); got != tt.want {
			t.Errorf("FromLine(%.20q, %v): got %q, want %q", tt.sender, tt.date, got, tt.want)
		}
	}
}

func TestParseFrom(t *testing.T) {
	const at = "2026-11-24T05:40:20Z"
	tests := []struct{ line, sender, date string }{
		{"From a@b Tue Nov 24 05:40:20 2026\n", "a@b", at},
		{"From a@b  Tue Nov 24 05:40 2026\r\n", "a@b", "2026-11-24T05:40:00Z"},
		{"From a@b Tue Nov 04 05:40:20 2026", "a@b", "2026-11-04T05:40:20Z"},
		{"From - Tue Nov 24 05:40:20 2026", "-", at},
		{"From a at b  Tue Nov 24 05:40:20 2026", "a at b", at},
		{"From a@b Tue Nov 24 05:40:20 GMT 2026", "a@b", at},
		{"From a@b Tue Nov 24 00:40:20 EST 2026", "a@b", at},
		{"From a@b Tue Nov 24 07:10:20 2026 +0130", "a@b", at},
		{"From a@b Tue Nov 24 05:40:20 2026 remote from c", "a@b", at},
		{"From a@b Tue Nov 24 05:40:20 2026 " + NoNewline, "a@b", at},
		{"From a@b Tue, 24 Nov 2026 01:40:20 -0400", "a@b", at},
		{"From - 2026-11-24 05:40:20", "-", at},
		{"From - 2026-11-24T05:40:20Z", "-", at},
		{"From Tue Nov 24 05:40:20 2026", "", at},
		{"From here on it goes", "here", ""},
		{"From a@b Tue Nov 31 05:40:20 2026", "a@b", ""},
		{"From a@b Tue Nov 24 25:40:20 2026", "a@b", ""},
		{"From a@b Tue Nov 24 05:40:20 26", "a@b", ""},
		{"From a@b Tue", "a@b", ""},
		{"From ", "", ""},
		{"Frommage", "", ""},
	}
	for _, tt := range tests {
		sender, date, ok := ParseFrom([]byte(tt.line))
		got := ""
		if ok {
			got = date.UTC().Format(time.RFC3339)
		}
		if sender != tt.sender || got != tt.date {
			t.Errorf("%q: got %q %q, want %q %q", tt.line, sender, got, tt.sender, tt.date)
		}
	}
}

func TestRead(t *testing.T) {
	const from = "From a@b Tue Nov 24 05:40:20 2026\n"
	tests := []struct {
		name, file string
		format     Format
		rule       Rule
		want       []string
	}{
		{"nothing", "", RD, Strict, nil},
		{"empty lines only", "\n\r\n\n", RD, Strict, nil},
		{"two", from + "a\n\n" + from + "b\n\n", RD, Strict, []string{"a\n", "b\n"}},
		{"empty lines before the first", "\n\n" + from + "a\n\n", RD, Strict, []string{"a\n"}},
		{"empty lines at the ends of messages", from + "a\n\n\n" + from + "\n\n\n", RD, Strict, []string{"a\n\n", "\n\n"}},
		{"empty messages", from + "\n" + from + "\n", RD, Strict, []string{"", ""}},
		{"file cut inside a line", from + "a\n\nb", RD, Strict, []string{"a\n\nb"}},
		{"file cut before the empty line", from + "a\n", RD, Strict, []string{"a\n"}},
		{"file cut in the From_ line", strings.TrimSpace(from), RD, Strict, []string{""}},
		{"CRLF", strings.ReplaceAll(from+"a\n\n"+from+"b\n\n", "\n", "\r\n"), RD, Strict, []string{"a\r\n", "b\r\n"}},
		{"mboxrd unquotes one", from + ">From a\n>>From b\n>>>From c\n>Fro\n>\n\n", RD, Strict, []string{"From a\n>From b\n>>From c\n>Fro\n>\n"}},
		{"mboxo unquotes one kind", from + ">From a\n>>From b\n\n", O, Strict, []string{"From a\n>>From b\n"}},
		{"quoted line cut", from + ">From ", RD, Strict, []string{"From "}},
		{"bare CR is no line", from + "a\n\r\n" + from + "b\n\n", RD, Strict, []string{"a\n", "b\n"}},
		{"no date", from + "a\n\nFrom here on\n\n", RD, Strict, []string{"a\n\nFrom here on\n"}},
		{"no date, blank rule", from + "a\n\nFrom here on\n\n", RD, Blank, []string{"a\n", ""}},
		{"no empty line", from + "a\n" + from + "b\n\n", RD, Strict, []string{"a\n" + from + "b\n"}},
		{"no empty line, blank rule", from + "a\n" + from + "b\n\n", RD, Blank, []string{"a\n" + from + "b\n"}},
		{"no empty line, any rule", from + "a\n" + from + "b\n\n", RD, Any, []string{"a\n", "b\n"}},
		{"remark", strings.TrimSpace(from) + " " + NoNewline + "\na\n\n\n" + from + "b\n\n", RD, Strict, []string{"a\n", "b\n"}},
		{"From_ line too long", from + "\nFrom " + strings.Repeat("x", maxFrom) + " Tue Nov 24 05:40:20 2026\n", RD, Strict,
			[]string{"\nFrom " + strings.Repeat("x", maxFrom) + " Tue Nov 24 05:40:20 2026\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole": strings.NewReader(tt.file), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.file)),
			} {
				got := read(t, tt.format, tt.rule, r)
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
					t.Errorf("%s: got %q, want %q", how, got, tt.want)
				}
			}
		})
	}
}

func TestMessageFields(t *testing.T) {
	const one = "From a@b Tue Nov 24 05:40:20 2026 x\r\n"
	r := NewReader(strings.NewReader(one+"From x\na\n\nFrom y\n\n"+one+"b\n\n"), RD)
	for i, want := range []struct {
		offset  int64
		suspect int
	}{{0, 2}, {int64(len(one)) + 18, 0}} {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, m.Body)
		if string(m.FromLine) != one || m.Offset != want.offset || m.Suspect != want.suspect {
			t.Errorf("message %d: got %q %d %d, want %q %d %d", i, m.FromLine, m.Offset, m.Suspect, one, want.offset, want.suspect)
		}
	}
}

func TestNotAMailbox(t *testing.T) {
	for file, at := range map[string]string{
		"Subject: x\n\nFrom a@b Tue Nov 24 05:40:20 2026\n": "byte 0",
		"\n\nFrom here on\n":     "byte 2",
		"\xef\xbb\xbfFrom a b\n": "byte 0",
		"\r":                     "byte 0",
	} {
		r := NewReader(strings.NewReader(file), RD)
		for range 2 { // the error stays
			_, err := r.Next()
			var e *status.Error
			if !errors.As(err, &e) || e.Exit != int(status.Data) || !strings.Contains(e.Text, at) {
				t.Errorf("%q: got %v, want an error of kind Data at %s", file, err, at)
			}
		}
	}
}

func TestReadErrorIsNoEnd(t *testing.T) {
	bad := errors.New("disk on fire")
	for _, file := range []string{"", "Fro", "From a@b Tue Nov 24 05:40:20 2026", "From a@b Tue Nov 24 05:40:20 2026\nx\n\n", "From a@b Tue Nov 24 05:40:20 2026\nx"} {
		r := NewReader(io.MultiReader(strings.NewReader(file), iotest.ErrReader(bad)), RD)
		var err error
		for range 3 {
			if _, err = r.Next(); err != nil {
				break
			}
		}
		if !errors.Is(err, bad) {
			t.Errorf("after %q: got %v, want %v", file, err, bad)
		}
	}
}

type failingWriter struct{ left int }

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("no space")
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	if err := NewWriter(&failingWriter{10}, RD).WriteMessage("a", day, strings.NewReader("x\n")); err == nil {
		t.Error("short message: got no error")
	}
	w := NewWriter(&failingWriter{100000}, RD)
	if err := w.WriteMessage("a", day, strings.NewReader(strings.Repeat("long line\n", 100000))); err == nil {
		t.Error("long message: got no error")
	}
	bad := errors.New("cannot read")
	if err := NewWriter(io.Discard, RD).WriteMessage("a", day, iotest.ErrReader(bad)); !errors.Is(err, bad) {
		t.Errorf("got %v, want %v", err, bad)
	}
}

// copyAll reads a mailbox and writes it again.
func copyAll(t testing.TB, f Format, file []byte) (out []byte, suspect int) {
	t.Helper()
	var b bytes.Buffer
	r, w := NewReader(bytes.NewReader(file), f), NewWriter(&b, f)
	for {
		m, err := r.Next()
		if err == io.EOF {
			return b.Bytes(), suspect
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Copy(m); err != nil {
			t.Fatal(err)
		}
		suspect += m.Suspect
	}
}

func TestCopyJoinsMailboxes(t *testing.T) {
	const from = "From a@b Tue Nov 24 05:40:20 2026\n"
	for _, first := range []string{from + "a\n\n", from + "a\n", from + "a", from} {
		var b bytes.Buffer
		w := NewWriter(&b, RD)
		for _, file := range []string{first, from + "b\n\n"} {
			m, err := NewReader(strings.NewReader(file), RD).Next()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Copy(m); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, RD, Strict, &b); len(got) != 2 || got[1] != "b\n" {
			t.Errorf("after %q: got %q", first, got)
		}
	}
}

func TestLongRunsStayBounded(t *testing.T) {
	for _, n := range []int{bufSize/2 - 1, bufSize / 2, bufSize/2 + 1, bufSize - 5, bufSize - 1, bufSize, bufSize + 1, 5*bufSize + 3} {
		for _, m := range []string{strings.Repeat(">", n) + "From x\n", strings.Repeat("x", n) + "\nFrom x\n", strings.Repeat(">", n)} {
			got := read(t, RD, Strict, bytes.NewReader(write(t, RD, m, "next\n")))
			if len(got) != 2 || got[0] != m {
				t.Errorf("run of %d: message of %d bytes changed", n, len(m))
			}
		}
	}
}

// The reader of another library finds in each mboxo file the messages we put
// there, but for three things it does its own way: it makes line ends CRLF, adds
// a missing one, and doubles the last of several empty lines before a From_ line.
func TestOtherReader(t *testing.T) {
	messages := []string{"A: b\n\ntext\n", "A: b\n\nFrom here\nand From there\n", "A: b\n\none\n\ntwo\n", "no end", "A: b\n"}
	r := gombox.NewReader(bytes.NewReader(write(t, O, messages...)))
	for i, want := range messages {
		m, err := r.NextMessage()
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		b, err := io.ReadAll(m)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(string(b), "\r\n", "\n")
		if got != strings.TrimSuffix(want, "\n")+"\n" {
			t.Errorf("message %d: got %q, want %q", i, got, want)
		}
	}
	if _, err := r.NextMessage(); err != io.EOF {
		t.Errorf("after the last: got %v, want EOF", err)
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{"", "\n", "\r", "\n\r", "a", "From ", "From x\n", ">>From \r\n", "A: b\n\n\n\n", "\x00\xff", ">\n>F", "\r\nFrom a b Tue Nov 24 05:40:20 2026\r\n"} {
		f.Add([]byte(s), []byte("second\n"), false)
		f.Add([]byte(s), []byte(s), true)
	}
	f.Fuzz(func(t *testing.T, a, b []byte, crlf bool) {
		line := FromLine("a@b", day)
		if crlf {
			line = append(line[:len(line)-1], '\r', '\n')
		}
		var file bytes.Buffer
		w := NewWriter(&file, RD)
		for _, m := range [][]byte{a, b} {
			if err := w.WriteRaw(line, bytes.NewReader(m)); err != nil {
				t.Fatal(err)
			}
		}
		text := file.Bytes()
		got := read(t, RD, Strict, iotest.HalfReader(bytes.NewReader(text)))
		if len(got) != 2 || got[0] != string(a) || got[1] != string(b) {
			t.Errorf("got %q, want %q and %q; file %q", got, a, b, text)
		}
		if again, suspect := copyAll(t, RD, text); !bytes.Equal(again, text) || suspect != 0 {
			t.Errorf("copied: got %q, want %q", again, text)
		}
	})
}

func FuzzMailbox(f *testing.F) {
	const from = "From a@b Tue Nov 24 05:40:20 2026"
	for _, s := range []string{"", "x", "\n\n", from, from + "\n", from + "\na", from + "\r\na\r\n\r\n" + from + "\n\n", from + " " + NoNewline + "\n\n",
		from + " " + NoNewline + "\na\n\r\n" + from + "\n>>From \n\n\n", from + "\nFrom x\n\nFrom y\n" + from} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		_, err := NewReader(bytes.NewReader(file), RD).Next()
		if err != nil {
			return
		}
		got, suspect := copyAll(t, RD, file)
		if suspect == 0 && blankLen(file) == 0 && !bytes.Equal(got, file) {
			t.Errorf("got %q, want %q", got, file)
		}
		want := read(t, RD, Strict, bytes.NewReader(file))
		if split := read(t, RD, Strict, iotest.OneByteReader(bytes.NewReader(file))); fmt.Sprint(split) != fmt.Sprint(want) {
			t.Errorf("byte by byte: got %q, want %q", split, want)
		}
		if again := read(t, RD, Strict, bytes.NewReader(got)); fmt.Sprint(again) != fmt.Sprint(want) {
			t.Errorf("copied and read: got %q, want %q", again, want)
		}
	})
}
