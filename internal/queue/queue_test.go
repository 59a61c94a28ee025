package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC)

func newQueue(t testing.TB, o Options) *Queue {
	t.Helper()
	q, err := Open(filepath.Join(t.TempDir(), "queue"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func letter(t testing.TB, text string, to ...string) (*message.Message, *envelope.Envelope) {
	t.Helper()
	e := new(envelope.Envelope)
	from := "s@example.net"
	if err := e.FromArgs(&from, to); err != nil {
		t.Fatal(err)
	}
	return message.Bytes([]byte(text)), e
}

func put(t testing.TB, q *Queue, text string, to ...string) ID {
	t.Helper()
	m, e := letter(t, text, to...)
	id, err := q.Put(m, e, noon, noon)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func lock(t testing.TB, q *Queue, id ID) *Locked {
	t.Helper()
	l, err := q.Lock(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Unlock)
	return l
}

// Everything that an envelope can hold, and the message, come back as they were.
func TestPutAndRead(t *testing.T) {
	q := newQueue(t, Options{})
	text := "Subject: x\n\n8-bit \xff, NUL \x00, CR \r, no end"
	m, _ := letter(t, text)
	e, err := envelope.FromEnviron([]string{"SENDER=s@example.net", "RECIPIENTS=a@example.org\n\"t ab \\\\ x\"@example.org",
		"SMTP_NOTIFY=NEVER\nSUCCESS,DELAY", "SMTP_ORCPT=\nrfc822;b+40c", "SMTP_ENVID=id", "SMTP_RET=HDRS", "SMTP_REQUIRETLS=1",
		"SMTP_SMTPUTF8=1", "SMTP_BODY=8BITMIME", "SMTP_MT_PRIORITY=-3", "SMTP_BY=120;R", "SMTP_HOLDFOR=60", "AUTHUSER=me@example.net",
		"PROTO=TCP", "TCPREMOTEIP=192.0.2.1", "HELO=me"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := q.Put(m, e, noon, noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	l := lock(t, q, id)
	if !reflect.DeepEqual(l.Envelope, e) {
		t.Errorf("got  %+v\nwant %+v", l.Envelope, e)
	}
	if !l.Arrived.Equal(noon) || l.Size != int64(len(text)) || l.Held || l.ID != id {
		t.Errorf("entry %+v", l.Entry)
	}
	want := Recipient{Address: e.Recipients[1], Notify: "SUCCESS,DELAY", ORcpt: "rfc822;b+40c", State: Waiting, Next: noon.Add(time.Minute)}
	if !reflect.DeepEqual(l.Recipients[1], want) {
		t.Errorf("got  %+v\nwant %+v", l.Recipients[1], want)
	}
	got, err := l.Message()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if b, err := io.ReadAll(got.Reader()); err != nil || string(b) != text {
		t.Errorf("message %q, %v", b, err)
	}
	if due, ok := l.Due(); !ok || !due.Equal(noon.Add(time.Minute)) {
		t.Errorf("due %v, %v", due, ok)
	}
}

func TestRecord(t *testing.T) {
	q := newQueue(t, Options{})
	id := put(t, q, "x\n", "a@example.org", "b@example.org", "c@example.org")
	l := lock(t, q, id)
	later := l.Recipients[0]
	later.Attempts, later.Last, later.Next, later.Warned = 3, noon, noon.Add(time.Hour), true
	later.Host, later.Reply = "mx.example.org[192.0.2.1]", "450 4.2.0 tab\tand\nline \\n"
	done := l.Recipients[1]
	done.State = Delivered
	if err := l.Record(map[int]Recipient{0: later, 1: done}); err != nil {
		t.Fatal(err)
	}
	if err := l.Hold(true); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as it is held, and as it is read again
		if !reflect.DeepEqual(l.Recipients[0], later) || l.Recipients[1].State != Delivered || l.Recipients[2].State != Waiting || !l.Held {
			t.Errorf("got %+v", l.Entry)
		}
		if _, ok := l.Due(); ok {
			t.Error("a held entry is due")
		}
		l.Unlock()
		l = lock(t, q, id)
	}
	if err := l.Hold(false); err != nil {
		t.Fatal(err)
	}
	if due, ok := l.Due(); !ok || !due.Equal(noon) {
		t.Errorf("due %v, %v", due, ok)
	}
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Lock(id); !IsGone(err) {
		t.Errorf("after Remove: %v", err)
	}
	if left := files(t, q); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// files are all files of the queue.
func files(t testing.TB, q *Queue) (all []string) {
	t.Helper()
	err := fs.WalkDir(q.root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Many records make the file long, and then it is written anew; nothing is lost by that.
func TestRewrite(t *testing.T) {
	q := newQueue(t, Options{})
	id := put(t, q, "x\n", "a@example.org", "b@example.org")
	l := lock(t, q, id)
	r := l.Recipients[1]
	r.Reply = strings.Repeat("long ", 400)
	for i := range 100 {
		r.Attempts = i + 1
		if err := l.Record(map[int]Recipient{1: r}); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Lock(id); !IsBusy(err) {
			t.Fatalf("record %d: the lock is gone: %v", i, err)
		}
	}
	if l.size > rewriteAt+4096 {
		t.Errorf("%d bytes", l.size)
	}
	l.Unlock()
	if e, err := q.Read(id); err != nil || e.Recipients[1].Attempts != 100 || e.Recipients[0].State != Waiting {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	q := newQueue(t, Options{})
	id := put(t, q, "x\n", "a@example.org")
	l := lock(t, q, id)
	if _, err := q.Lock(id); !IsBusy(err) || status.Of(err).Class != status.Temporary {
		t.Errorf("got %v", err)
	}
	if e, err := q.Read(id); err != nil || e.ID != id {
		t.Errorf("read a locked entry: %v", err)
	}
	l.Unlock()
	l = lock(t, q, id)
	l.Unlock()
}

// A damaged entry is set aside, named in the log, and nobody else is hindered.
func TestDamaged(t *testing.T) {
	var log bytes.Buffer
	q := newQueue(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for name, damage := range map[string]func(env, msg string) error{
		"empty":         func(env, _ string) error { return os.WriteFile(env, nil, 0o600) },
		"something":     func(env, _ string) error { return os.WriteFile(env, []byte("hello\nworld\n"), 0o600) },
		"cut":           func(env, _ string) error { return os.Truncate(env, 60) },
		"bad record":    func(env, _ string) error { return appendTo(env, "rcpt 7\twaiting\t1\n") },
		"bad address":   func(env, _ string) error { return replace(env, "SENDER=s@", "SENDER=s@@") },
		"no message":    func(_, msg string) error { return os.Remove(msg) },
		"cut message":   func(_, msg string) error { return os.Truncate(msg, 1) },
		"bad size":      func(env, _ string) error { return replace(env, "size 2", "size -2") },
		"unknown state": func(env, _ string) error { return appendTo(env, "rcpt 0\tlost\t1\t-\t-\t-\t\t\n") },
	} {
		log.Reset()
		good, bad := put(t, q, "x\n", "a@example.org"), put(t, q, "x\n", "b@example.org")
		dir := q.root.Name()
		if err := damage(filepath.Join(dir, bad.envelope()), filepath.Join(dir, bad.message())); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Lock(bad); err == nil || status.Of(err).Class != status.Temporary {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := q.Read(bad); !IsGone(err) {
			t.Errorf("%s: not set aside: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, dirCorrupt, string(bad)+extEnvelope)); err != nil || !strings.Contains(log.String(), string(bad)) {
			t.Errorf("%s: %v, log %q", name, err, log.String())
		}
		if _, err := q.Read(good); err != nil {
			t.Errorf("%s: the other one: %v", name, err)
		}
	}
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func replace(name, old, new string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, bytes.ReplaceAll(b, []byte(old), []byte(new)), 0o600)
}

// A record that was being written when the machine stopped does not count, and the next one is whole.
func TestTorn(t *testing.T) {
	q := newQueue(t, Options{})
	id := put(t, q, "x\n", "a@example.org")
	if err := appendTo(filepath.Join(q.root.Name(), id.envelope()), "rcpt 0\tdeliv"); err != nil {
		t.Fatal(err)
	}
	l := lock(t, q, id)
	if l.Recipients[0].State != Waiting {
		t.Errorf("state %s", l.Recipients[0].State)
	}
	r := l.Recipients[0]
	r.State = Failed
	if err := l.Record(map[int]Recipient{0: r}); err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	if e, err := q.Read(id); err != nil || e.Recipients[0].State != Failed {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestDueAndOrder(t *testing.T) {
	q := newQueue(t, Options{})
	var ids []ID
	for i := range 50 {
		m, e := letter(t, "x\n", "a@example.org")
		id, err := q.Put(m, e, noon.Add(time.Duration(i)*time.Second), noon.Add(time.Duration(i%2)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if all, err := q.IDs(); err != nil || !slices.Equal(all, ids) {
		t.Errorf("got %q, %v, want %q", all, err, ids)
	}
	due, next, err := q.Due(noon.Add(time.Minute))
	var want []ID
	for i := 0; i < 50; i += 2 {
		want = append(want, ids[i])
	}
	if err != nil || !slices.Equal(due, want) || !next.Equal(noon.Add(time.Hour)) {
		t.Errorf("due %q until %v, %v; want %q", due, next, err, want)
	}
}

// An entry that is done with and was not removed, since the process ended before it could, is looked at again.
func TestDoneIsDue(t *testing.T) {
	q := newQueue(t, Options{})
	id := put(t, q, "x\n", "a@example.org")
	l := lock(t, q, id)
	r := l.Recipients[0]
	r.State = Delivered
	if err := l.Record(map[int]Recipient{0: r}); err != nil {
		t.Fatal(err)
	}
	if due, _, err := q.Due(time.Now().Add(time.Second)); err != nil || len(due) != 1 {
		t.Errorf("due %q, %v", due, err)
	}
}

func TestGuards(t *testing.T) {
	q := newQueue(t, Options{MaxEntries: 3})
	for range 3 {
		put(t, q, "x\n", "a@example.org")
	}
	m, e := letter(t, "x\n", "a@example.org")
	if _, err := q.Put(m, e, noon, noon); err == nil || status.Of(err).Code != 452 {
		t.Errorf("full: %v", err)
	}
	q.o = Options{MinFree: 1 << 60, MaxEntries: 10}
	if _, err := q.Put(m, e, noon, noon); err == nil || status.Of(err).Code != 452 {
		if _, known := freeBytes(q.root); known {
			t.Errorf("no room: %v", err)
		}
	}
	if len(files(t, q)) != 6 {
		t.Errorf("files %q", files(t, q))
	}
	e.Recipients = nil
	if _, err := q.Put(m, e, noon, noon); err == nil {
		t.Error("no recipient was taken")
	}
}

func TestClean(t *testing.T) {
	q := newQueue(t, Options{})
	kept := put(t, q, "x\n", "a@example.org")
	old := time.Now().Add(-48 * time.Hour)
	half := newID(noon)
	for _, name := range []string{"tmp/a.msg", "tmp/b.env", half.message(), "tmp/new.msg"} {
		q.root.Mkdir(filepath.Dir(name), 0o700)
		if err := q.root.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "tmp/new.msg" {
			if err := q.root.Chtimes(name, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := q.root.Chtimes(kept.message(), old, old); err != nil {
		t.Fatal(err)
	}
	if n, err := q.Clean(time.Now()); n != 3 || err != nil {
		t.Errorf("cleaned %d, %v", n, err)
	}
	if left := files(t, q); len(left) != 3 {
		t.Errorf("left %q", left)
	}
}

func TestParseID(t *testing.T) {
	id := newID(noon)
	if got, err := ParseID(string(id)); got != id || err != nil {
		t.Errorf("%q: %q, %v", id, got, err)
	}
	for _, bad := range []string{"", "../../etc/passwd", string(id) + "x", string(id[1:]) + "/", strings.ToUpper(string(id)), string(id[1:]) + "\n"} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if a, b := newID(noon), newID(noon.Add(time.Microsecond)); a >= b {
		t.Errorf("%s is not before %s", a, b)
	}
}

// Whatever an envelope file holds, reading it is an entry or an error, and what is written of an entry reads as the same.
func FuzzParse(f *testing.F) {
	_, e := letter(f, "", "a@example.org", "b@example.org")
	head, err := header(e, noon, noon, 7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head + record(0, Recipient{State: Failed, Attempts: 2, Next: noon, Host: "h", Reply: "550 no"}) + "hold\n")
	f.Add(head + "rcpt 1\tdeliv")
	f.Add("pennypost-queue 1\narrived x\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parse("0", text)
		if err != nil {
			if !errors.Is(err, errDamaged) && !strings.Contains(err.Error(), "parsing time") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := header(e.Envelope, e.Arrived, e.Arrived, max(e.Size, 0))
		if err != nil {
			return // an envelope that cannot be put cannot be written anew either
		}
		for n, r := range e.Recipients {
			again += record(n, r)
		}
		if e.Held {
			again += "hold\n"
		}
		same, err := parse("0", again)
		if err != nil || fmt.Sprintf("%+v", same.Recipients) != fmt.Sprintf("%+v", e.Recipients) || same.Held != e.Held {
			t.Fatalf("%q\nread %+v, %v\nwant %+v", again, same, err, e)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	q := newQueue(b, Options{})
	m, e := letter(b, strings.Repeat("0123456789abcde\n", 250), "a@example.org")
	for b.Loop() {
		if _, err := q.Put(m, e, time.Now(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
