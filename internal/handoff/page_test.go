package handoff

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pennypost/internal/status"
)

// scripts are the shell scripts of mailpipe(7), written to files, by the name in their first comment.
func scripts(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../man/mailpipe.7")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	found := make(map[string]string)
	for _, block := range strings.Split(string(page), "\n.Bd -literal -offset indent\n")[1:] {
		block, _, _ = strings.Cut(block, "\n.Ed\n")
		comment, ok := strings.CutPrefix(block, "#!/bin/sh\n# ")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(comment, ":")
		found[name] = filepath.Join(dir, name)
		if err := os.WriteFile(found[name], []byte(strings.ReplaceAll(block, `\e`, `\`)+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestPage runs the examples of mailpipe(7) by its own contract.
func TestPage(t *testing.T) {
	page := scripts(t)
	keep := t.TempDir()
	t.Setenv("KEEP", keep)
	run := func(body string, args ...string) error {
		return Command{Args: append([]string{"/bin/sh"}, args...)}.Run(t.Context(), mail(body), letter(t, "bob@example.net"))
	}

	const cats = "Subject: cats\n\nparrots only in the body\n"
	if err := run(cats, page["parrots"], "/bin/sh", page["keep"]); err != nil {
		t.Fatal(err)
	}
	err := run("From: x\nSubject: my parrot\n\n", page["parrots"], "/bin/sh", page["keep"])
	if err == nil || status.Of(err).Line() != "550 5.7.1 We do not take mail about parrots" || status.ExitStatus(err) != 77 {
		t.Errorf("about parrots: got %v", err)
	}
	kept, err := filepath.Glob(keep + "/*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %q, %v; want one message", kept, err)
	}
	got, err := os.ReadFile(kept[0])
	if want := "Return-Path: <alice@example.org>\nX-Parrots: none\n" + cats; err != nil || string(got) != want {
		t.Errorf("kept %q, %v; want %q", got, err, want)
	}
	t.Setenv("KEEP", filepath.Join(keep, "none"))
	if err := run(cats, page["parrots"], "/bin/sh", page["keep"]); status.ExitStatus(err) != 75 {
		t.Errorf("where nothing can be kept: got %v, want exit 75", err)
	}

	for exit, want := range map[string]string{"0": "taken", "67": "never", "75": "later", "1": "later"} {
		var out strings.Builder
		try := Command{Args: []string{"/bin/sh", page["try"], "/bin/sh", "-c", "exit " + exit}, Stdout: &out}
		if err := try.Run(t.Context(), mail(""), letter(t, "bob@example.net")); err != nil || out.String() != want+"\n" {
			t.Errorf("exit %s: got %q, %v; want %q", exit, out.String(), err, want)
		}
	}
}

// TestPageTable compares the table of exit statuses on the page with the code's.
func TestPageTable(t *testing.T) {
	page, err := os.ReadFile("../../man/mailpipe.7")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(strings.TrimSpace(strings.TrimPrefix(line, ".It ")), " Ta "); len(cells) == 4 {
			rows[cells[0]] = cells[1] + " " + cells[2]
		}
	}
	words := map[status.Class]string{status.Permanent: "never", status.Temporary: "later"}
	for exit := 1; exit < 256; exit++ {
		e := status.FromExit(exit, "")
		number := e.Line()[:3] + " " + e.Enhanced
		row, listed := rows[strconv.Itoa(exit)]
		if !listed {
			row = "later 451 4.3.0"
		}
		if want := words[e.Class] + " " + number; row != want {
			t.Errorf("exit %d: the page says %q, the code %q", exit, row, want)
		}
	}
	if len(rows) < 18 {
		t.Errorf("only %d rows found on the page", len(rows))
	}
}
