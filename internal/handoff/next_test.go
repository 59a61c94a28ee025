package handoff

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/status"
)

func TestNextWritesWithoutProgram(t *testing.T) {
	var out strings.Builder
	if err := Next(t.Context(), nil, mail("a: b\n\nc"), letter(t), &out); err != nil || out.String() != "a: b\n\nc" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	full := errors.New("full")
	err := Next(t.Context(), nil, mail("x"), letter(t), failing{full})
	if !errors.Is(err, full) || status.Of(err).Class != status.Temporary {
		t.Errorf("got %v, want a temporary error", err)
	}
}

func TestNextReturnsTheExactExit(t *testing.T) {
	for _, code := range []string{"0", "1", "3", "65", "77", "99", "100", "111", "200"} {
		var out strings.Builder
		err := Next(t.Context(), []string{"/bin/sh", "-c", "cat; exit " + code}, mail("x\n"), letter(t), &out)
		if got := status.ExitStatus(err); code != strconv.Itoa(got) || out.String() != "x\n" {
			t.Errorf("exit %s: got %d and output %q", code, got, out.String())
		}
	}
	err := Next(t.Context(), []string{"/nonexistent"}, mail("x\n"), letter(t), io.Discard)
	if status.Of(err) == nil || status.Of(err).Class != status.Temporary {
		t.Errorf("a program that is not there: got %v, want a temporary error", err)
	}
}

// TestChain runs caller -> filter -> filter -> sh, as in smtpd -- a -- b -- deliver.
func TestChain(t *testing.T) {
	path, env := self(t, "filter")
	last := `cat; echo "$SENDER $RECIPIENT $HELO"; echo "$REPLY" >&2; exit $STATUS`
	for _, c := range []struct {
		exit string
		line string
		want string
	}{
		{"0", "all well", ""},
		{"77", "550 5.7.1 not for us", "550 5.7.1 not for us"},
		{"3", "450 4.2.0 later", "450 4.2.0 later"},
	} {
		var out, logged strings.Builder
		run := Command{
			Args:    []string{path, "--", "/usr/bin/env", "HANDOFF_PROGRAM=filter", path, "--", "/bin/sh", "-c", last},
			Environ: append(env, "STATUS="+c.exit, "REPLY="+c.line),
			Stdout:  &out, Stderr: &logged,
		}
		err := run.Run(t.Context(), mail("Subject: x\n\nbody\n"), letter(t, "bob@example.net"))
		if got := strconv.Itoa(status.ExitStatus(err)); got != c.exit {
			t.Errorf("exit %s: got %s (%v)", c.exit, got, err)
		}
		if c.want != "" && (err == nil || status.Of(err).Line() != c.want) {
			t.Errorf("exit %s: got %v, want the reply %q", c.exit, err, c.want)
		}
		want := "X-Filter: yes\nX-Filter: yes\nSubject: x\n\nbody\nalice@example.org bob@example.net changed.example\n"
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
		if !strings.Contains(logged.String(), c.line+"\n") {
			t.Errorf("the last program's words %q were not passed through: %q", c.line, logged.String())
		}
	}
}

func TestReceive(t *testing.T) {
	null := ""
	other := "other@example.org"
	cases := []struct {
		name       string
		in         Input
		sender     string
		recipients string
		exit       int
	}{
		{"environment", Input{Environ: []string{"SENDER=a@b.example", "RECIPIENTS=c@d.example\ne@f.example"}}, "a@b.example", "c@d.example e@f.example", 0},
		{"one recipient", Input{Environ: []string{"SENDER=a@b.example", "RECIPIENT=c@d.example"}}, "a@b.example", "c@d.example", 0},
		{"arguments first", Input{Environ: []string{"SENDER=a@b.example", "RECIPIENT=c@d.example"}, Sender: &other, Recipients: []string{"x@y.example"}}, "other@example.org", "x@y.example", 0},
		{"null sender", Input{Environ: []string{"SENDER=a@b.example"}, Sender: &null}, "", "", 0},
		{"overridden rubbish", Input{Environ: []string{"SENDER=((", "RECIPIENTS=))"}, Sender: &other, Recipients: []string{"x@y.example"}}, "other@example.org", "x@y.example", 0},
		{"nothing", Input{Environ: []string{}}, "", "", 0},
		{"too big", Input{Environ: []string{}, Max: 4}, "", "", 65},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.in.Stdin = piped(t, "a: b\n\nc\n")
			m, e, err := Receive(c.in)
			if got := status.ExitStatus(err); got != c.exit {
				t.Fatalf("got exit %d (%v), want %d", got, err, c.exit)
			}
			if err != nil {
				return
			}
			defer m.Close()
			var list []string
			for _, r := range e.Recipients {
				list = append(list, r.String())
			}
			if e.Sender.String() != c.sender || strings.Join(list, " ") != c.recipients {
				t.Errorf("got %q to %q, want %q to %q", e.Sender, list, c.sender, c.recipients)
			}
			if b, err := io.ReadAll(m.Reader()); err != nil || string(b) != "a: b\n\nc\n" {
				t.Errorf("got message %q, %v", b, err)
			}
		})
	}
	for _, bad := range []Input{
		{Environ: []string{"SENDER=a@"}},
		{Environ: []string{"RECIPIENTS=ok@example.org\n<>"}},
		{Environ: []string{}, Recipients: []string{""}},
		{Environ: []string{}, Sender: new("a b@c")},
	} {
		bad.Stdin = piped(t, "")
		if _, _, err := Receive(bad); err == nil {
			t.Errorf("%q %q: got no error", bad.Environ, bad.Recipients)
		}
	}
}

func TestReceiveStartsAtTheBeginning(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(f, "all of it\n") // the offset is at the end now
	m, _, err := Receive(Input{Stdin: f, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(m.Reader()); string(b) != "all of it\n" {
		t.Errorf("got %q", b)
	}
	f.Close()
	if _, _, err := Receive(Input{Stdin: f, Environ: []string{}}); err == nil {
		t.Error("a closed standard input: got no error")
	}
}

// piped is the read end of a pipe that holds s and ends.
func piped(t *testing.T, s string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { r.Close() })
	return r
}

// FuzzTail: the last line does not depend on how the output comes in pieces, and is bounded.
func FuzzTail(f *testing.F) {
	f.Add("550 5.7.1 no\n", 3)
	f.Add("a\n\n \r\nb", 2)
	f.Add(strings.Repeat("x", 3000)+"\nshort\n\n", 1500)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		var whole, parts tail
		whole.Write([]byte(s))
		cut = max(0, min(cut, len(s)))
		parts.Write([]byte(s[:cut]))
		parts.Write([]byte(s[cut:]))
		got := whole.String()
		if got != parts.String() {
			t.Errorf("cut at %d: got %q, want %q", cut, parts.String(), got)
		}
		if len(got) > maxLine || strings.Contains(got, "\n") {
			t.Errorf("%d bytes, or more than one line: %q", len(got), got)
		}
		want := ""
		for line := range strings.SplitSeq(s, "\n") {
			if kept := strings.TrimSpace(line[:min(len(line), maxLine)]); kept != "" {
				want = kept
			}
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
