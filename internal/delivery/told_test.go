package delivery

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// told is what Explain says will happen.
type told struct {
	steps []Step
	err   error
}

func explained(t *testing.T, o *postoffice.Office, text, from, to string, opt Options) told {
	t.Helper()
	all, err := Explain(context.Background(), o.Lookup, message.Bytes([]byte(text)), newEnvelope(t, from, to), opt)
	if err != nil || len(all) != 1 {
		t.Fatalf("explain: %v, %v", all, err)
	}
	x := told{err: all[0].Err}
	if all[0].Plan != nil {
		x.steps = all[0].Plan.List()
	}
	return x
}

// deliverTruly is Deliver of which Explain says the fate beforehand, and where the copies go.
func deliverTruly(t *testing.T, find Finder, m *message.Message, e *envelope.Envelope, opt Options) error {
	t.Helper()
	all, err := Explain(context.Background(), find, m, e, opt)
	if len(e.Recipients) > 0 && err != nil {
		t.Fatalf("explain: %v", err)
	}
	var want, got []string
	for _, x := range all {
		for _, s := range planned(x.Plan) {
			if s.Kind == Maildir || s.Kind == Mbox {
				want = append(want, s.Place)
			}
		}
	}
	placed := opt.Placed
	opt.Placed = func(at string) {
		if strings.Contains(at, ",S=") {
			got = append(got, filepath.Dir(filepath.Dir(at)))
		} else {
			got = append(got, at)
		}
		if placed != nil {
			placed(at)
		}
	}
	err = Deliver(context.Background(), find, m, e, opt)
	sameFate(t, Fate(all), err, len(e.Recipients) == 0)
	if got, want := sorted(got), sorted(want); err == nil && !slices.Equal(got, want) {
		t.Errorf("told of copies in %q, got %q", want, got)
	}
	return err
}

func planned(p *Plan) []Step {
	if p == nil {
		return nil
	}
	return p.List()
}

// sameFate compares the code that was told with that of the delivery. Bad usage has none to tell.
func sameFate(t *testing.T, told, got error, usage bool) {
	t.Helper()
	switch {
	case usage && told == nil:
	case (told == nil) != (got == nil), told != nil && status.Of(told).Code != status.Of(got).Code:
		t.Errorf("told %v, got %v", told, got)
	}
}

// toTargetsTruly is ToTargets of which ExplainTargets says the fate beforehand.
func toTargetsTruly(t *testing.T, targets []Target, m *message.Message, e *envelope.Envelope) error {
	t.Helper()
	x, err := ExplainTargets(context.Background(), targets, m, e, Options{})
	if err != nil {
		t.Fatalf("explain: %v", err)
	}
	err = ToTargets(context.Background(), targets, m, e, Options{})
	sameFate(t, x.Err, err, false)
	return err
}

// checkTold compares what was told with what happened. What a command says is not known before, nor whether the queue takes a
// message.
func checkTold(t *testing.T, x told, result string, queued []string) {
	t.Helper()
	failed := strings.HasPrefix(result, "error ")
	if x.err != nil {
		if class := status.Of(x.err).Class; !failed || (class == status.Permanent) != strings.HasPrefix(result, "error 5") {
			t.Errorf("told %v, got %q", x.err, result)
		}
		return
	}
	if slices.ContainsFunc(x.steps, func(s Step) bool { return s.Kind == Command }) {
		return
	}
	var want, forwards []string
	for _, s := range x.steps {
		_, place, _ := strings.Cut(s.Place, "/example.org/")
		switch place = "example.org/" + place; s.Kind {
		case Maildir:
			want = append(want, place)
		case Mbox, MH:
			want = append(want, place)
		case Forward, Answer:
			forwards = append(forwards, s.Sender+" "+s.Place)
		}
	}
	if failed && len(forwards) > 0 {
		return
	}
	var got []string
	for _, place := range strings.Fields(result) {
		if dir, file := filepath.Split(strings.TrimSuffix(place, "/")); file == "new" || filepath.Base(dir) == "cur" {
			place = strings.TrimSuffix(strings.TrimSuffix(dir, "/"), "/cur")
		} else if strings.Trim(file, "0123456789") == "" {
			place = strings.TrimSuffix(dir, "/")
		}
		got = append(got, place)
	}
	if got, want := sorted(got), sorted(want); failed || !slices.Equal(got, want) {
		t.Errorf("told of copies in %q, got %q: %s", want, got, result)
	}
	for i := range queued {
		queued[i] = strings.ToLower(queued[i])
	}
	for i := range forwards {
		forwards[i] = strings.ToLower(forwards[i])
	}
	if got, want := sorted(queued), sorted(forwards); !slices.Equal(got, want) {
		t.Errorf("told of forwards %q, got %q", want, got)
	}
}

func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// What is told of targets named by hand is what happens, also when that is trouble.
func TestToldTargets(t *testing.T) {
	const hello = "Subject: hello\n\ntext\n"
	hold, err := ParseTest("Subject ~ hello")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text, to string
		targets        []string
		rules          []Rule
		fails          bool
	}{
		{"one of each", hello, "a@example.org", []string{"maildir:In", "mbox:box", "mh:mh", "-", "bob@example.net"}, nil, false},
		{"a Maildir in one that is made", hello, "a@example.org", []string{"maildir:In", "maildir:In/.Sub", "maildir:In"}, nil, false},
		{"a rule instead", hello, "a@example.org", []string{"maildir:In"}, []Rule{{Test: hold, Do: []Target{{Kind: Stdout, Arg: "-"}}}}, false},
		{"a rule that throws away", hello, "a@example.org", []string{"maildir:In"}, []Rule{{Test: hold, Do: []Target{}}}, false},
		{"a folder", hello, "a@example.org", []string{"maildir:In"}, []Rule{{Folder: "A.B", Flags: "S"}}, false},
		{"no folder", hello, "a@example.org", []string{"maildir:In"}, []Rule{{Folder: "../B"}}, true},
		{"a loop", "Delivered-To: a@example.org\n\n", "a@example.org", []string{"maildir:In"}, nil, true},
		{"many hosts", strings.Repeat("Received: x\n", 100) + "\n", "", []string{"maildir:In"}, nil, false},
		{"too many hosts", strings.Repeat("Received: x\n", 101) + "\n", "", []string{"maildir:In"}, nil, true},
		{"no directory", hello, "", []string{"maildir:In", "mh:none/mh"}, nil, true},
		{"no directory for an mbox", hello, "", []string{"maildir:In", "mbox:none/box"}, nil, true},
		{"an mbox that is a directory", hello, "", []string{"maildir:In", "mbox:dir"}, nil, true},
		{"a Maildir that is a file", hello, "", []string{"mbox:box", "maildir:file"}, nil, true},
		{"an MH folder that is a file", hello, "", []string{"mbox:box", "mh:file"}, nil, true},
		{"LMTP to nobody", hello, "", []string{"mbox:box", "lmtp+unix:///nowhere"}, nil, true},
		{"a full Maildir", strings.Repeat("x", 200), "", []string{"mbox:box", "maildir:full"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, args := range [][]string{{"dir"}, {"full"}, {"full/tmp"}, {"full/new"}, {"full/cur"}} {
				if err := os.Mkdir(args[0], 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range map[string]string{"file": "", "full/maildirsize": "100S\n"} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var targets []Target
			for _, s := range c.targets {
				target, err := ParseTarget(s)
				if err != nil {
					t.Fatal(err)
				}
				targets = append(targets, target)
			}
			checkTargets(t, targets, c.text, c.to, c.rules, c.fails)
		})
	}
}

func checkTargets(t *testing.T, targets []Target, text, to string, rules []Rule, fails bool) {
	t.Helper()
	ctx, m, e := context.Background(), message.Bytes([]byte(text)), newEnvelope(t, "s@example.net")
	if to != "" {
		e = newEnvelope(t, "s@example.net", to)
	}
	var out bytes.Buffer
	var got []string
	opt := Options{Rules: rules, Stdout: &out, Placed: func(path string) { got = append(got, path) }}
	opt.Forward = func(_ context.Context, _ *message.Message, e *envelope.Envelope) error {
		got = append(got, e.Recipients[0].String())
		return nil
	}
	x, err := ExplainTargets(ctx, targets, m, e, opt)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob("In"); len(left) > 0 {
		t.Error("to explain made a Maildir")
	}
	err = ToTargets(ctx, targets, m, e, opt)
	if (err != nil) != fails || (x.Err != nil) != fails || fails && status.Of(err).Class != status.Of(x.Err).Class {
		t.Fatalf("told %v, got %v", x.Err, err)
	}
	if fails {
		if left, _ := filepath.Glob("[bI][on]*"); len(got) > 0 || out.Len() > 0 || slices.Contains(left, "box") {
			t.Errorf("got %q, %q, %q", got, out.String(), left)
		}
		return
	}
	if out.Len() > 0 {
		got = append(got, "-")
	}
	for i, place := range got { // of a copy the Maildir or MH folder
		if dir := filepath.Dir(place); strings.Contains(place, ",S=") {
			got[i] = filepath.Dir(dir)
		} else if filepath.Base(place) == "1" {
			got[i] = dir
		}
	}
	var want []string
	for _, s := range x.Plan.List() {
		want = append(want, s.Place)
	}
	if got, want := sorted(got), sorted(want); !slices.Equal(got, want) {
		t.Errorf("told of %q, got %q", want, got)
	}
}

// What stands although the delivery failed is named: it comes again.
func TestStands(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bad/tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad/new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, m := context.Background(), message.Bytes([]byte("x\n"))
	done := func(context.Context, *message.Message, *envelope.Envelope) error { return nil }
	o, home := newOffice(t, "example.org/alice/.qmail=./box\n&b@example.net\n&c@example.net\n./bad/\n", "example.org/bob/.qmail=&d@example.net\n")
	if err := os.Rename(filepath.Join(dir, "bad"), filepath.Join(home, "example.org/alice/bad")); err != nil {
		t.Fatal(err)
	}
	err := Deliver(ctx, o.Lookup, m, newEnvelope(t, "", "alice@example.org"), Options{Forward: done})
	if err == nil || !strings.HasSuffix(err.Error(), "; it was forwarded to <b@example.net>; it was forwarded to <c@example.net>") {
		t.Errorf("the Maildir fails last: %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(home, "example.org/alice/box")); len(b) > 0 {
		t.Errorf("the mbox has %q", b)
	}
	// The second mailbox's forward fails, after the first's and a copy on standard output.
	calls := 0
	second := func(context.Context, *message.Message, *envelope.Envelope) error {
		if calls++; calls > 1 {
			return os.ErrClosed
		}
		return nil
	}
	if err := os.WriteFile(filepath.Join(home, "example.org/alice/.qmail"), []byte("&b@example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = Deliver(ctx, o.Lookup, m, newEnvelope(t, "", "alice@example.org", "bob@example.org"), Options{Forward: second})
	if err == nil || !strings.HasSuffix(err.Error(), "file already closed; it was forwarded to <b@example.net>") {
		t.Errorf("the second forward fails: %v", err)
	}
	var out bytes.Buffer
	targets := []Target{{Kind: Stdout, Arg: "-"}, {Kind: Mbox, Arg: filepath.Join(dir, "none", "box")}}
	targets[1].Arg = dir // is a directory, which is noticed when it is locked
	err = ToTargets(ctx, targets, m, newEnvelope(t, ""), Options{Stdout: &out})
	if err == nil || !strings.HasSuffix(err.Error(), "; it went to -") {
		t.Errorf("an mbox fails after standard output: %v", err)
	}
}
