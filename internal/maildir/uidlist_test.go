package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const guid = "00112233445566778899aabbccddeeff"

func TestParseUIDList(t *testing.T) {
	tests := []struct {
		name, text     string
		validity, next uint32
		records        string // "uid=name" joined by blanks
		damaged        bool
	}{
		{"plain", "3 V7 N4 G" + guid + "\n1 :a\n3 :b\n", 7, 4, "1=a 3=b", false},
		{"appended beyond N", "3 V7 N2\n1 :a\n2 :b\n9 :c\n", 7, 10, "1=a 2=b 9=c", false},
		{"names with flags", "3 V7 N4\n1 :a:2,S\n2 :b,S=3:2,\n", 7, 4, "1=a 2=b,S=3", false},
		{"fields and unknown header", "3 X9 N4 V7\n1 W12 PUID1-2 :a\n", 7, 4, "1=a", false},
		{"colon in a name", "3 V7 N4\n1 :a :b\n", 7, 4, "1=a :b", false},
		{"version 1", "1 7 4\n1 a\n3 b\n", 7, 4, "1=a 3=b", false},
		{"later record of a name wins", "3 V7 N4\n1 :a\n2 :b\n3 :a\n", 7, 4, "2=b 3=a", false},
		{"no records", "3 V7 N9\n", 7, 9, "", false},
		{"empty file", "", 0, 1, "", true},
		{"no validity", "3 N9\n1 :a\n", 0, 9, "1=a", true},
		{"garbage header keeps records", "\x00\x00\x00\n1 :a\n2 :b\n", 0, 3, "1=a 2=b", true},
		{"garbage line raises next", "3 V7 N4\n1 :a\n5\n6 no name\n", 7, 7, "1=a", true},
		{"garbage far off does not", "3 V7 N4\n1 :a\n4294900000 oops\n", 7, 4, "1=a", true},
		{"last line half written", "3 V7 N4\n1 :a\n4 :12345.M6", 7, 5, "1=a", true},
		{"not ascending", "3 V7 N4\n2 :b\n1 :a\n", 7, 4, "1=a 2=b", true},
		{"one UID twice", "3 V7 N4\n1 :a\n1 :b\n2 :c\n", 7, 4, "1=a 2=c", true},
		{"slash in a name", "3 V7 N4\n1 :../a\n2 :b\n", 7, 4, "2=b", true},
		{"zero UID", "3 V7 N4\n0 :a\n", 7, 4, "", true},
		{"line without end", "3 V7 N4\n1 :a\n2 :" + strings.Repeat("x", 3*maxUIDLine) + "\n3 :c\n", 7, 4, "1=a 3=c", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := ParseUIDList(strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var records []string
			for _, r := range l.Records {
				records = append(records, fmt.Sprintf("%d=%s", r.UID, r.Name))
			}
			got := strings.Join(records, " ")
			if l.Validity != tt.validity || l.Next != tt.next || got != tt.records || l.Damaged != tt.damaged {
				t.Errorf("got V%d N%d %q damaged=%v, want V%d N%d %q damaged=%v",
					l.Validity, l.Next, got, l.Damaged, tt.validity, tt.next, tt.records, tt.damaged)
			}
		})
	}
}

// Whatever is in the file: UIDs ascend, no name comes twice, Next is above all, and what is written from
// it reads back the same.
func FuzzUIDList(f *testing.F) {
	f.Add("3 V7 N4 G"+guid+"\n1 W3 :a\n2 :b\n3 :a\n", 20)
	f.Add("1 7 4\n1 a\n3 b\n", 3)
	f.Add("3 V7 N4\n4294967293 :a\n1 :../x\n", 9)
	f.Add("\n\n1 :\n", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		l, err := ParseUIDList(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		names := make(map[string]bool)
		last := uint32(0)
		for _, r := range l.Records {
			if r.UID <= last || r.UID >= l.Next || names[r.Name] || l.UID(r.Name) != r.UID {
				t.Fatalf("record %+v after %d, next %d", r, last, l.Next)
			}
			last, names[r.Name] = r.UID, true
		}
		l.Validity = max(l.Validity, 1)
		out, err := l.AppendText(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseUIDList(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if again.Damaged || again.Next != l.Next || again.Validity != l.Validity || len(again.Records) != len(l.Records) {
			t.Fatalf("%q became %+v, want %+v", out, again, l)
		}
		// A crash in an append leaves a prefix: what stands whole in it is kept, and no UID comes twice.
		cut = max(0, min(cut, len(out)))
		whole := strings.Count(string(out[:cut]), "\n") - 1
		torn, err := ParseUIDList(bytes.NewReader(out[:cut]))
		if err != nil {
			t.Fatal(err)
		}
		if whole >= 0 && (len(torn.Records) != whole || torn.Validity != l.Validity || torn.Next != l.Next) {
			t.Fatalf("of %q: %d records, want %d; next %d, want %d", out[:cut], len(torn.Records), whole, torn.Next, l.Next)
		}
	})
}

// box makes a Maildir with empty messages: "new/a", "cur/b:2,S".
func box(t testing.TB, names ...string) *Dir {
	t.Helper()
	d, err := CreatePath(filepath.Join(t.TempDir(), "box"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for _, n := range names {
		put(t, d, n, "")
	}
	return d
}

func put(t testing.TB, d *Dir, name, text string) {
	t.Helper()
	if err := d.Root().WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func fixed(v uint32) func() (uint32, error) { return func() (uint32, error) { return v, nil } }

func index(t testing.TB, d *Dir) (string, *Index) {
	t.Helper()
	x, err := d.Index(context.Background(), fixed(7))
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, m := range x.Messages {
		s = append(s, fmt.Sprintf("%d=%s", m.UID, m.Key))
	}
	return strings.Join(s, " "), x
}

func TestIndexKeepsUIDs(t *testing.T) {
	d := box(t, "new/1.a", "cur/2.b:2,S")
	got, x := index(t, d)
	if got != "1=1.a 2=2.b" || x.Validity != 7 || x.Next != 3 || !isGUID(x.GUID) {
		t.Fatalf("got %q V%d N%d G%q", got, x.Validity, x.Next, x.GUID)
	}
	// An older name that arrives later gets a later UID; flags and a move change nothing.
	put(t, d, "new/0.c", "")
	if err := d.Root().Rename("new/1.a", "cur/1.a:2,FS"); err != nil {
		t.Fatal(err)
	}
	if got, _ = index(t, d); got != "1=1.a 2=2.b 3=0.c" {
		t.Errorf("got %q", got)
	}
	// The UID of one that is gone is not given again, not even when the file is written anew.
	for _, n := range []string{"cur/1.a:2,FS", "cur/2.b:2,S", "new/0.c"} {
		if err := d.Root().Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	put(t, d, "new/4.d", "")
	if got, x = index(t, d); got != "4=4.d" || x.Next != 5 {
		t.Errorf("got %q next %d", got, x.Next)
	}
	text, err := d.Root().ReadFile(uidListName)
	if err != nil || bytes.Count(text, []byte("\n")) != 2 {
		t.Errorf("the list was not cleaned: %q, %v", text, err)
	}
}

func TestIndexWritesNothingWhenAllIsKnown(t *testing.T) {
	d := box(t, "new/1.a")
	put(t, d, uidListName, "3 V9 N2 G"+guid+"\n1 :1.a\n")
	put(t, d, uidLockName, fmt.Sprintf("%d:%s", os.Getpid(), lockHost()))
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a wait for the lock would fail
	x, err := d.Index(ctx, nil)
	if err != nil || x.Validity != 9 || x.Messages[0].UID != 1 {
		t.Errorf("got %+v, %v", x, err)
	}
}

func TestIndexTakesOverOtherLists(t *testing.T) {
	tests := []struct{ name, file, text, want string }{
		{"Dovecot with flags in names", uidListName, "3 V9 N30 G" + guid + "\n5 W1 :1.a:2,S\n20 P99 :2.b\n", "3 V9 N31 G" + guid + "\n5 W1 :1.a\n20 P99 :2.b\n30 :3.c\n"},
		{"version 1", uidListName, "1 9 30\n5 1.a\n", "3 V9 N32 G"},
		{"Courier", uidListCourier, "1 9 30\n5 1.a\n20 2.b\n", "3 V9 N31 G"},
		{"damaged", uidListName, "3 V9 N30 G" + guid + "\n5 :1.a\nxx\n20 :2.b\n", "3 V9 N31 G" + guid + "\n5 :1.a\n20 :2.b\n30 :3.c\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := box(t, "cur/1.a:2,S", "cur/2.b:2,", "new/3.c")
			put(t, d, tt.file, tt.text)
			got, x := index(t, d)
			if !strings.HasPrefix(got, "5=1.a ") || x.Validity != 9 || !strings.Contains(got, "=3.c") {
				t.Errorf("got %q V%d", got, x.Validity)
			}
			text, err := d.Root().ReadFile(uidListName)
			l, perr := ParseUIDList(bytes.NewReader(text))
			if err != nil || perr != nil || l.Damaged || l.Validity != 9 || l.UID("1.a") != 5 {
				t.Errorf("written: %q, %v", text, err)
			}
			if tt.name == "damaged" {
				if string(text) != tt.want {
					t.Errorf("written %q, want %q", text, tt.want)
				}
				if bak, _ := d.Root().ReadFile(uidListBackup); string(bak) != tt.text {
					t.Errorf("backup is %q", bak)
				}
			}
		})
	}
}

// Each call that changes the disk fails in turn: the error is told, no UID that was known changes, and the
// next try completes the list.
func TestIndexFaults(t *testing.T) {
	errFault := errors.New("fault")
	lists := map[string]string{
		"append":  "3 V9 N3 G" + guid + "\n1 :1.a\n2 :2.b\n",
		"rewrite": "3 V9 N3 G" + guid + "\n1 :1.a\nbroken\n2 :2.b\n",
		"first":   "",
	}
	for name, text := range lists {
		for step := range 12 {
			t.Run(fmt.Sprintf("%s/%d", name, step), func(t *testing.T) {
				d := box(t, "cur/1.a:2,", "cur/2.b:2,", "new/3.c")
				if text != "" {
					put(t, d, uidListName, text)
				}
				left := step
				d.ops = failing(&left, errFault)
				_, err := d.Index(context.Background(), fixed(9))
				if err != nil && !errors.Is(err, errFault) || err == nil && left < 0 {
					t.Fatalf("got %v with %d steps left", err, left)
				}
				d.ops = &realOps
				got, x := index(t, d)
				if text != "" && (got != "1=1.a 2=2.b 3=3.c" && got != "1=1.a 2=2.b 4=3.c" || x.Validity != 9) {
					t.Errorf("got %q V%d", got, x.Validity)
				}
				if l, _ := d.readUIDList(); l.Damaged || l.UID("3.c") == 0 {
					t.Errorf("the list is not whole: %+v", l)
				}
				if _, err := d.Root().Lstat(uidLockName); err == nil {
					t.Error("the lock was left")
				}
			})
		}
	}
}

// failing lets *left calls pass and fails the next one: a write in its middle.
func failing(left *int, fault error) *ops {
	o := realOps
	fail := func() bool { *left--; return *left == -1 }
	o.create = func(r *os.Root, n string) (*os.File, error) {
		if fail() {
			return nil, fault
		}
		return realOps.create(r, n)
	}
	o.write = func(f *os.File, b []byte) (int, error) {
		if fail() {
			n, _ := f.Write(b[:len(b)/2])
			return n, fault
		}
		return f.Write(b)
	}
	o.sync = func(f *os.File) error {
		if fail() {
			return fault
		}
		return f.Sync()
	}
	o.rename = func(r *os.Root, a, b string) error {
		if fail() {
			return fault
		}
		return r.Rename(a, b)
	}
	o.link = func(r *os.Root, a, b string) error {
		if fail() {
			return fault
		}
		return r.Link(a, b)
	}
	o.syncDir = func(r *os.Root, n string) error {
		if fail() {
			return fault
		}
		return syncDir(r, n)
	}
	return &o
}

// Many at once give each message one UID, and all the same one.
func TestIndexTogether(t *testing.T) {
	d := box(t)
	results := make(chan map[string]uint32)
	const n = 8
	for i := range n {
		go func() {
			seen := make(map[string]uint32)
			for j := range 5 {
				name := fmt.Sprintf("new/%d.%d", j, i)
				if err := d.Root().WriteFile(name, nil, 0o600); err != nil {
					t.Error(err)
				}
				x, err := d.Index(context.Background(), fixed(7))
				if err != nil {
					t.Error(err)
					break
				}
				for _, m := range x.Messages {
					if old := seen[m.Key]; old != 0 && old != m.UID {
						t.Errorf("%s had %d and has %d", m.Key, old, m.UID)
					}
					seen[m.Key] = m.UID
				}
			}
			results <- seen
		}()
	}
	all := make(map[string]uint32)
	owner := make(map[uint32]string)
	for range n {
		for key, uid := range <-results {
			if o, ok := owner[uid]; ok && o != key {
				t.Errorf("UID %d is that of %s and %s", uid, o, key)
			}
			all[key], owner[uid] = uid, key
		}
	}
	if len(all) != n*5 {
		t.Errorf("%d messages have UIDs, want %d", len(all), n*5)
	}
}

func TestNewValidityNeverComesTwice(t *testing.T) {
	d := box(t)
	var got []uint32
	for range 5 {
		v, err := d.NewValidity()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != 5 {
		t.Errorf("got %v", got)
	}
	text, err := d.Root().ReadFile(uidValidityName)
	if want := fmt.Sprintf("%08x", got[4]); err != nil || string(text) != want {
		t.Errorf("file has %q, %v, want %q", text, err, want)
	}
}

func TestLock(t *testing.T) {
	gone := deadPID(t)
	tests := []struct {
		name, holder string
		age          time.Duration
		broken       bool
	}{
		{"held by us", fmt.Sprintf("%d:%s", os.Getpid(), lockHost()), time.Hour, false},
		{"dead process", fmt.Sprintf("%d:%s", gone, lockHost()), 0, true},
		{"other host", "1:elsewhere.example", 0, false},
		{"other host, stale", "1:elsewhere.example", 3 * time.Minute, true},
		{"nobody known", "", time.Minute, false},
		{"nobody known, stale", "", 3 * time.Minute, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := box(t)
			put(t, d, uidLockName, tt.holder)
			when := time.Now().Add(-tt.age)
			if err := d.Root().Chtimes(uidLockName, when, when); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			release, err := d.LockUIDs(ctx)
			if (err == nil) != tt.broken {
				t.Fatalf("got %v, want broken=%v", err, tt.broken)
			}
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want a time-out", err)
				}
				return
			}
			release()
			if names, _ := filepath.Glob(filepath.Join(d.Path(), uidLockName+"*")); len(names) > 0 {
				t.Errorf("left: %v", names)
			}
		})
	}
}

// deadPID is the id of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], "-test.list=^$"}, &os.ProcAttr{})
	if err != nil {
		t.Skipf("start a process: %v", err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	return p.Pid
}

// A lock that was taken away is noticed before anything is written over.
func TestLockTakenAway(t *testing.T) {
	d := box(t, "new/1.a")
	old := "3 V9 N2 G" + guid + "\nbroken\n"
	put(t, d, uidListName, old)
	o := realOps
	o.sync = func(f *os.File) error {
		d.Root().Remove(uidLockName)
		put(t, d, uidLockName, "1:elsewhere.example")
		return f.Sync()
	}
	d.ops = &o
	if x, err := d.Index(context.Background(), fixed(9)); err == nil {
		t.Errorf("got %+v", x)
	}
	if text, _ := d.Root().ReadFile(uidListName); string(text) != old {
		t.Errorf("the list became %q", text)
	}
	if text, _ := d.Root().ReadFile(uidLockName); string(text) != "1:elsewhere.example" {
		t.Errorf("the other one's lock became %q", text)
	}
}
