package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pennypost/internal/delivery"
	"pennypost/internal/mailtest"
)

// The variables of a script in which every delivery is compared with what --explain says of it beforehand: the program itself,
// the directory in which everything happens, and the file that takes a line for each comparison.
const (
	envProgram = "TOLD_PROGRAM"
	envRoot    = "TOLD_ROOT"
	envLog     = "TOLD_LOG"
)

// Called by the name of the program this is what stands before it in the scripts.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "deliver" && os.Getenv(envProgram) != "" {
		os.Exit(explainFirst(os.Args[1:]))
	}
	mailtest.Main(m)
}

// What a user sees, and that --explain tells the truth about each delivery before it happens, and changes nothing.
func TestScripts(t *testing.T) {
	log, setup := tellFirst(t)
	t.Cleanup(func() { checkComparisons(t, log, 110) })
	mailtest.ScriptsWith(t, "testdata/script", func(env *testscript.Env) error {
		setup(env.WorkDir, func(name, value string) { env.Setenv(name, value) })
		env.Setenv("PATH", filepath.Dir(log)+string(os.PathListSeparator)+env.Getenv("PATH"))
		return nil
	}, "deliver")
}

// tellFirst makes a directory with a deliver that compares, and the log of it.
func tellFirst(t *testing.T) (log string, setup func(root string, setenv func(name, value string))) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, program := mailtest.Passable(t), filepath.Join(mailtest.Build(t, "deliver"), "deliver")
	log = filepath.Join(dir, "log")
	if err := os.Symlink(self, filepath.Join(dir, "deliver")); err != nil {
		t.Fatal(err)
	}
	return log, func(root string, setenv func(name, value string)) {
		setenv(envProgram, program)
		setenv(envRoot, root)
		setenv(envLog, log)
	}
}

// comparing is deliver with such a comparison for the deliveries of a test in Go, which all happen below root.
func comparing(t *testing.T, root string) (program string, env []string) {
	t.Helper()
	log, setup := tellFirst(t)
	env = os.Environ()
	setup(root, func(name, value string) { env = append(env, name+"="+value) })
	t.Cleanup(func() { checkComparisons(t, log, 1) })
	return filepath.Join(filepath.Dir(log), "deliver"), env
}

// checkComparisons wants so many, all good.
func checkComparisons(t *testing.T, log string, least int) {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "good ") {
			good++
		} else {
			t.Error(strings.TrimSpace(line))
		}
	}
	if good < least {
		t.Errorf("%d deliveries were compared with what was told of them, want %d at least", good, least)
	}
}

// explainFirst asks the program what it would do, lets it do it, and notes whether that was the same.
func explainFirst(args []string) (exit int) {
	again, err := reread(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 120
	}
	run := func(out, said io.Writer, args ...string) int {
		cmd := exec.Command(os.Getenv(envProgram), args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = again(), out, said
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, err)
			return 121
		}
		return cmd.ProcessState.ExitCode()
	}
	for _, a := range args {
		if slices.Contains([]string{"--explain", "--json", "-n", "--dry-run", "--help", "--version"}, a) {
			return run(os.Stdout, os.Stderr, args...)
		}
	}
	var c comparison
	var told, saidBefore, out, said bytes.Buffer
	before := snapshot()
	c.toldExit = run(&told, &saidBefore, append([]string{"--explain", "--json"}, args...)...)
	if now := snapshot(); !maps.Equal(before, now) {
		c.bad("to explain changed files: %v, then %v", before, now)
	}
	c.exit = run(io.MultiWriter(os.Stdout, &out), io.MultiWriter(os.Stderr, &said), args...)
	c.toldWords, c.words = saidBefore.String(), said.String()
	for s := bufio.NewScanner(&told); s.Scan(); {
		var step delivery.Step
		if err := json.Unmarshal(s.Bytes(), &step); err != nil {
			c.bad("told %q: %v", s.Text(), err)
		}
		c.steps = append(c.steps, step)
	}
	c.compare(before, snapshot(), out.Len() > 0)
	c.note(args)
	return c.exit
}

// reread returns the input once more for each call: a file from where it stands, all else from memory.
func reread(in *os.File) (func() io.Reader, error) {
	info, err := in.Stat()
	if err == nil && info.Mode().IsRegular() {
		at, err := in.Seek(0, io.SeekCurrent)
		return func() io.Reader {
			in.Seek(at, io.SeekStart)
			return in
		}, err
	}
	all, err := io.ReadAll(in)
	return func() io.Reader { return bytes.NewReader(all) }, err
}

// files are what is below the root, by path, with what changes when they do.
type files map[string]string

func snapshot() files {
	all := make(files)
	filepath.WalkDir(os.Getenv(envRoot), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what a delivery at the same time takes away
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			all[path] = fmt.Sprint(info.Size(), info.Mode(), info.ModTime().UnixNano())
		} else if err == nil {
			all[path] = info.Mode().String()
		}
		return nil
	})
	return all
}

// comparison is what was told, and what happened.
type comparison struct {
	steps            []delivery.Step
	toldExit, exit   int
	toldWords, words string
	wrong            []string
}

func (c *comparison) bad(format string, a ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, a...))
}

// note appends a line to the log.
func (c *comparison) note(args []string) {
	line := fmt.Sprintf("good %q\n", args)
	if len(c.wrong) > 0 {
		line = fmt.Sprintf("%s: deliver %q: %s\n", os.Getenv(envRoot), args, strings.Join(c.wrong, "; "))
	}
	f, err := os.OpenFile(os.Getenv(envLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err == nil {
		_, err = io.WriteString(f, line)
		f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		c.exit = 122
	}
}

// has tells whether one of the steps is of such a kind.
func (c *comparison) has(kinds ...delivery.Kind) bool {
	return slices.ContainsFunc(c.steps, func(s delivery.Step) bool { return slices.Contains(kinds, s.Kind) })
}

// compare finds what was told wrongly. What a command or a server says is not known before it is asked, nor how much the disk takes.
func (c *comparison) compare(before, after files, out bool) {
	open := c.has(delivery.Command, delivery.LMTP) || strings.Contains(c.words, "file too large")
	switch {
	case c.toldExit != 0 && (c.exit != c.toldExit || reply(c.words) != reply(c.toldWords)):
		c.bad("told status %d, %q, got %d, %q", c.toldExit, c.toldWords, c.exit, c.words)
		return
	case c.exit != 0 && c.toldExit == 0 && !open:
		c.bad("told %v, got %d, %q", c.steps, c.exit, c.words)
		return
	}
	var want []string
	certain, commands := 0, false // certain are the steps before the first command
	for _, s := range c.steps {
		commands = commands || s.Kind == delivery.Command
		if s.Kind == delivery.Command || s.Kind == delivery.LMTP {
			continue // whose doings are not seen here
		}
		if want = append(want, c.place(s)); !commands {
			certain = len(want)
		}
	}
	got := c.happened(before, after, out && c.has(delivery.Stdout))
	for _, p := range got {
		if !slices.Contains(want, p) {
			c.bad("got %q, told %q", p, want)
		}
	}
	for _, p := range want[:certain] {
		if c.exit == 0 && !slices.Contains(got, p) {
			c.bad("told %q, got %q", p, got)
		}
		if c.exit != 0 && slices.Contains(got, p) {
			c.bad("failed, and there is %q", p)
		}
	}
	if again := len(slices.Compact(slices.Sorted(slices.Values(got)))); again != len(got) {
		c.bad("more than one copy: %q", got)
	}
}

// reply is the code on the last line, and for whom it is; all of a line without code.
func reply(s string) string {
	s = strings.TrimRight(s, "\n")
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return replyForm.FindString(s)
}

var replyForm = regexp.MustCompile(`^(\d\d\d \d\.\d\.\d (deliver to \S+ )?|\D.*)`)

// place is a step in the form of happened.
func (c *comparison) place(s delivery.Step) string {
	at, err := filepath.Abs(s.Place)
	if real, err := filepath.EvalSymlinks(at); err == nil {
		at = real
	}
	if err != nil {
		c.bad("%v", err)
	}
	switch s.Kind {
	case delivery.Maildir:
		return fmt.Sprintf("maildir %s %s", at, s.Flags)
	case delivery.Mbox, delivery.MH:
		return fmt.Sprintf("%s %s", s.Kind, at)
	case delivery.Forward, delivery.Answer:
		return fmt.Sprintf("queue %s %s", s.Sender, s.Place)
	}
	return string(s.Kind)
}

// happened is where copies are now that were not there before.
func (c *comparison) happened(before, after files, out bool) (got []string) {
	for path, is := range after {
		was, old := before[path]
		if was == is || strings.HasPrefix(is, "d") {
			continue
		}
		dir, file := filepath.Split(path)
		up := filepath.Dir(filepath.Clean(dir))
		told := func(k delivery.Kind, at string) bool {
			return slices.ContainsFunc(c.steps, func(s delivery.Step) bool { return s.Kind == k && c.place(s) == string(k)+" "+at })
		}
		switch sub := filepath.Base(dir); {
		case strings.Trim(file, "0123456789") == "" && !old && told(delivery.MH, filepath.Clean(dir)):
			got = append(got, "mh "+filepath.Clean(dir))
		case told(delivery.Mbox, path):
			got = append(got, "mbox "+path)
		case sub == "new" && !old:
			got = append(got, fmt.Sprintf("maildir %s ", up))
		case sub == "cur" && !old:
			_, flags, _ := strings.Cut(file, ":2,")
			letters := strings.TrimRight(flags, "abcdefghijklmnopqrstuvwxyz") // without keywords
			got = append(got, fmt.Sprintf("maildir %s %s", up, letters))
		case strings.HasSuffix(file, ".env") && filepath.Base(up) == "mail":
			got = append(got, c.queued(path)...)
		case strings.HasSuffix(file, ".msg"), sub == ".vacation", slices.Contains(besides, file), c.has(delivery.Command):
		default:
			c.bad("%s appeared or changed, of which nothing was told", path)
		}
	}
	if out {
		got = append(got, "stdout")
	}
	return got
}

// besides are the files that come with a copy.
var besides = []string{"maildirsize", "maildirfolder", "dovecot-keywords"}

// queued are the recipients in an envelope of the queue.
func (c *comparison) queued(path string) (got []string) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.bad("%v", err)
	}
	sender := ""
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, "SENDER="); ok {
			sender = "<" + strings.TrimSpace(s) + ">"
		}
	}
	for line := range strings.Lines(string(b)) {
		if r, ok := strings.CutPrefix(line, "RECIPIENTS="); ok {
			got = append(got, fmt.Sprintf("queue %s %s", sender, strings.TrimSpace(r)))
		}
	}
	return got
}
