package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/mailtest"
	"pennypost/internal/status"
)

// faultyDelivery is one message for several recipients or targets of all kinds, in a directory of its own.
type faultyDelivery struct {
	name  string
	files map[string]string // what is there before
	args  []string
	want  []string // patterns of the files that have the whole message in the end
}

const (
	faultText = "Subject: fault\n\nFrom the first line\nto the last\n"
	oldMbox   = "From a@b Thu Jan  1 00:00:00 1970\nSubject: old\n\ntext\n\n"
)

var faultyDeliveries = []faultyDelivery{
	{"targets", map[string]string{"box": oldMbox, "mh/1": "old\n", "queue/mail/.keep": ""},
		[]string{"--queue", "queue", "--to", "maildir:A", "--to", "mbox:box", "--to", "mh:mh", "--to", "maildir:B", "--to", "c@example.net", "alice@example.org"},
		[]string{"A/new/*", "box", "mh/[0-9]*", "B/new/*", "queue/mail/*/*.msg"}},
	{"recipients", map[string]string{"o/example.org/alice/.qmail": "./Maildir/\n./box\n./Maildir/.Copies/\n&c@example.net\n",
		"o/example.org/alice/box": oldMbox, "o/example.org/bob/.qmail": "./Maildir/\n", "o/queue/mail/.keep": ""},
		[]string{"--office", "o", "alice@example.org", "bob@example.org"},
		[]string{"o/example.org/alice/Maildir/new/*", "o/example.org/alice/box", "o/example.org/alice/Maildir/.Copies/new/*",
			"o/queue/mail/*/*.msg", "o/example.org/bob/Maildir/new/*"}},
}

// faults are the calls, the errors that each gives in turn, and how often each is needed at least. A disk or a server of files
// fails where something is written or named; a file of which the server knows nothing any more (ESTALE) is also found when it is
// opened, looked at or closed. A program can be killed only where something is written.
var faults = []struct {
	calls, errnos string
	least         int
	kill          bool
	may           bool // what is safe by then need not fail
}{
	{"write,pwrite64", "ENOSPC,EDQUOT,ESTALE", 4, true, false},
	{"fsync,fdatasync", "EIO,EDQUOT,ESTALE", 6, true, false},
	{"link,linkat,rename,renameat,renameat2", "EIO,EDQUOT,ESTALE", 3, true, false},
	{"mkdir,mkdirat", "EDQUOT,ESTALE", 2, false, false},
	{"open,openat", "ESTALE", 20, false, false},
	{"stat,lstat,fstat,newfstatat,statx,getdents64,pread64,lseek", "ESTALE", 10, false, false},
	{"unlink,unlinkat", "EIO,ESTALE", 1, false, true},
	{"close", "EDQUOT", 10, false, true},
}

// replies are what is said of an error, behind "deliver to <...>: " and the like.
var replies = map[string][2]string{
	"ENOSPC": {"452 4.3.1 ", "no space left on device"},
	"EDQUOT": {"452 4.2.2 ", "disk quota exceeded"},
	"EIO":    {"451 4.3.0 ", "input/output error"},
	"ESTALE": {"451 4.", "stale file handle"},
}

// Each call fails in turn, and kills the program in turn: what is acknowledged is everywhere, what is not is nowhere unless the
// error names it, nothing is in part where a reader looks, and when the message comes again it arrives.
func TestEachCallFailsInTurn(t *testing.T) {
	strace := mailtest.Peer(t, "strace")
	if out, err := exec.Command(strace, "-f", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v: %s", err, out)
	}
	bin := mailtest.Build(t, "deliver")
	for _, d := range faultyDeliveries {
		for _, f := range faults {
			if !f.kill && d.name == "targets" {
				continue // what the other table opens and makes is the same
			}
			t.Run(d.name+" "+f.calls, func(t *testing.T) {
				t.Parallel()
				r := faultRun{t: t, faultyDelivery: d, calls: f.calls, bin: bin, strace: strace}
				if !f.kill { // else a directory that cannot be looked at is one that may not be written to
					r.args = append(slices.Clone(r.args), "--sandbox", "never")
				}
				n := r.run("", "")
				if n < f.least {
					t.Fatalf("%d calls, want %d at least", n, f.least)
				}
				for i := 1; i <= n; i++ {
					for errno := range strings.SplitSeq(f.errnos, ",") {
						r.run(fmt.Sprintf("inject=%s:error=%s:when=%d", f.calls, errno, i), errno)
					}
					if f.kill {
						r.run(fmt.Sprintf("inject=%s:signal=KILL:when=%d", f.calls, i), "")
					}
				}
				if r.failed < f.least/2 && !f.may || f.kill && r.killed < f.least/2 {
					t.Errorf("of %d calls %d failed and %d killed", n, r.failed, r.killed)
				}
			})
		}
	}
}

type faultRun struct {
	t *testing.T
	faultyDelivery
	calls, bin, strace string
	failed, killed     int
}

// run delivers with the fault, checks what is said and left, and returns how many calls there were.
func (r *faultRun) run(fault, errno string) int {
	r.t.Helper()
	dir := r.t.TempDir()
	for name, text := range r.files {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "log")
	args := []string{"-f", "-q", "-o", log, "-e", "trace=" + r.calls}
	if fault != "" {
		args = append(args, "-e", fault)
	}
	if !strings.Contains(fault, "KILL") { // faster, but strace 6.1 then forgets signals
		args = append(args, "--seccomp-bpf")
	}
	said, exit := r.deliver(dir, append(append([]string{r.strace}, args...), filepath.Join(r.bin, "deliver"))...)
	calls, err := os.ReadFile(log)
	if err != nil {
		r.t.Fatal(err)
	}
	switch {
	case strings.Contains(said, "netpollBreak"), exit < 0: // the runtime's own write, or killed
		r.killed++
	case exit == 0:
		r.everywhere(dir, fault)
		return strings.Count(string(calls), "(")
	case status.ClassOfExit(exit) == status.Temporary:
		r.failed++
		r.told(fault, errno, said)
		r.nowhere(dir, fault, said)
		r.whole(dir, fault)
		return 0
	default:
		r.t.Fatalf("%s: exit %d: %s", fault, exit, said)
	}
	r.whole(dir, fault)
	for _, lock := range []string{"box.lock", "o/example.org/alice/box.lock"} { // of one that was killed; it would be waited for
		os.Remove(filepath.Join(dir, lock))
	}
	if said, exit := r.deliver(dir, filepath.Join(r.bin, "deliver")); exit != 0 {
		r.t.Errorf("%s: the second time exit %d: %s", fault, exit, said)
	}
	r.everywhere(dir, fault)
	return 0
}

func (r *faultRun) deliver(dir string, command ...string) (said string, exit int) {
	r.t.Helper()
	cmd := exec.Command(command[0], append(append(command[1:], "-f", "s@example.net", "--exit", "sysexits"), r.args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOMAXPROCS=1", "TMPDIR="+dir)
	message := filepath.Join(dir, "message")
	if err := os.WriteFile(message, []byte(faultText), 0o600); err != nil {
		r.t.Fatal(err)
	}
	in, err := os.Open(message)
	if err != nil {
		r.t.Fatal(err)
	}
	defer in.Close()
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return stderr.String(), cmd.ProcessState.ExitCode()
}

// copies are the places that have the whole message, and the file with its last copy.
func (r *faultRun) copies(dir string) map[string]string {
	all := make(map[string]string)
	for _, place := range r.want {
		names, _ := filepath.Glob(filepath.Join(dir, place))
		for _, name := range names {
			b, _ := os.ReadFile(name)
			if strings.HasSuffix(string(b), faultText) || strings.HasSuffix(string(b), strings.Replace(faultText, "\nFrom ", "\n>From ", 1)+"\n") {
				all[place] = name
			}
		}
	}
	return all
}

// told wants words that say what is wrong, unless the write of these words failed too.
func (r *faultRun) told(fault, errno, said string) {
	r.t.Helper()
	want := replies[errno]
	if said == "" && strings.HasPrefix(r.calls, "write") {
		return
	}
	if !strings.Contains("\n"+said, "\n"+want[0]) || !strings.Contains(said, want[1]) {
		r.t.Errorf("%s: said %q", fault, said)
	}
}

func (r *faultRun) everywhere(dir, fault string) {
	r.t.Helper()
	if got := r.copies(dir); len(got) != len(r.want) {
		r.t.Errorf("%s: acknowledged, and it is only in %q", fault, got)
	}
}

// nowhere wants no copy but those that the error names. A message in the queue counts when its envelope is there.
func (r *faultRun) nowhere(dir, fault, said string) {
	r.t.Helper()
	for place, name := range r.copies(dir) {
		if env := strings.TrimSuffix(name, ".msg") + ".env"; strings.HasSuffix(name, ".msg") {
			_, err := os.Stat(env)
			if err == nil && !strings.Contains(said, "it was forwarded to <c@example.net>") {
				r.t.Errorf("%s: refused, and in the queue: %s", fault, said)
			}
			continue
		}
		if !strings.Contains(said, filepath.Base(name)) || !strings.Contains(said, "take back") && !strings.Contains(said, "put ") {
			r.t.Errorf("%s: refused, and in %s: %s", fault, place, said)
		}
	}
	for name, text := range r.files {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != text {
			r.t.Errorf("%s: refused (%s), and %s is now %q, %v", fault, said, name, b, err)
		}
	}
}

// whole wants no part of a message where a reader looks; of an mbox the start is as it was.
func (r *faultRun) whole(dir, fault string) {
	r.t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		sub := filepath.Base(filepath.Dir(name))
		base := d.Name()
		switch {
		case sub == "new" || sub == "cur" || sub == "mh" && base != "1" && base[0] != '.':
			if !strings.HasSuffix(string(b), faultText) {
				r.t.Errorf("%s: a part in %s: %q", fault, name, b)
			}
		case strings.HasSuffix(base, ".env") && strings.Contains(name, "/mail/"):
			if b, err := os.ReadFile(strings.TrimSuffix(name, ".env") + ".msg"); err != nil || !strings.HasSuffix(string(b), faultText) {
				r.t.Errorf("%s: a part in the queue: %q, %v", fault, b, err)
			}
		case base == "box" && !strings.HasPrefix(string(b), oldMbox):
			r.t.Errorf("%s: the old part of the mbox: %q", fault, b)
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}
