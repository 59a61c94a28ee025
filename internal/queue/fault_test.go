package queue

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var errDisk = errors.New("the disk is on fire")

// faulty lets the call number at fail, or from there on everything: the process stopped.
type faulty struct {
	at, n int
	stop  bool
}

func (f *faulty) fails() bool {
	f.n++
	return f.n == f.at || f.stop && f.n > f.at
}

func (f *faulty) ops() *ops {
	return &ops{
		create: func(root *os.Root, name string) (*os.File, error) {
			if f.fails() {
				return nil, errDisk
			}
			return realOps.create(root, name)
		},
		mkdir: func(root *os.Root, name string) error { return f.do(func() error { return realOps.mkdir(root, name) }) },
		write: func(file *os.File, b []byte) (int, error) {
			if f.fails() {
				n, _ := file.Write(b[:len(b)/2]) // half of it arrived
				return n, errDisk
			}
			return file.Write(b)
		},
		sync: func(file *os.File) error { return f.do(file.Sync) },
		cut:  func(file *os.File, size int64) error { return f.do(func() error { return file.Truncate(size) }) },
		rename: func(root *os.Root, from, to string) error {
			return f.do(func() error { return root.Rename(from, to) })
		},
		remove:  func(root *os.Root, name string) error { return f.do(func() error { return root.Remove(name) }) },
		syncDir: func(root *os.Root, name string) error { return f.do(func() error { return syncDir(root, name) }) },
		chtimes: func(root *os.Root, name string, at time.Time) error {
			return f.do(func() error { return realOps.chtimes(root, name, at) })
		},
	}
}

func (f *faulty) do(call func() error) error {
	if f.fails() {
		return errDisk
	}
	return call()
}

// Each call of Put fails in turn, or is the last: what was acknowledged is in the queue whole, and what was refused by a
// process that went on is not.
func TestPutFaults(t *testing.T) {
	const text = "Subject: x\n\nbody\n"
	for _, stop := range []bool{false, true} {
		for at := 1; ; at++ {
			q := newQueue(t, Options{})
			f := &faulty{at: at, stop: stop}
			q.ops = f.ops()
			m, e := letter(t, text, "a@example.org")
			id, err := q.Put(m, e, noon, noon)
			q.ops = &realOps
			ids, lerr := q.IDs()
			if lerr != nil {
				t.Fatal(lerr)
			}
			if err == nil && (len(ids) != 1 || ids[0] != id || readAll(t, q, id) != text) {
				t.Errorf("fault %d: acknowledged, and the queue has %q", at, ids)
			}
			if err != nil && len(ids) > 0 {
				// Only a stop between the name and the directory's sync may leave one that was not acknowledged: it is
				// whole, and sent once more than the sender knows.
				if !stop || readAll(t, q, ids[0]) != text {
					t.Errorf("fault %d, stop %v: refused, and the queue has %q", at, stop, ids)
				}
			}
			if f.n < at {
				break // no call was left to fail
			}
		}
	}
}

func readAll(t *testing.T, q *Queue, id ID) string {
	t.Helper()
	l := lock(t, q, id)
	defer l.Unlock()
	m, err := l.Message()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each call of Record, of a rewrite, of a record after one that was cut off, and of Remove fails in turn, or is the last: the
// entry says what it said before or what it was told, and the message is there as long as the entry is.
func TestRecordFaults(t *testing.T) {
	for _, stop := range []bool{false, true} {
		for _, what := range []string{"append", "rewrite", "torn"} {
			for at := 1; ; at++ {
				q := newQueue(t, Options{})
				id := put(t, q, "x\n", "a@example.org", "b@example.org")
				if what == "torn" {
					if err := appendTo(filepath.Join(q.root.Name(), id.envelope()), "rcpt 1\twait"); err != nil {
						t.Fatal(err)
					}
				}
				l := lock(t, q, id)
				if what == "rewrite" {
					l.size = 1 << 30 // so that it is written anew
				}
				f := &faulty{at: at, stop: stop}
				q.ops = f.ops()
				r := l.Recipients[1]
				r.State = Delivered
				err := l.Record(map[int]Recipient{1: r})
				second := l.Recipients[0]
				second.Attempts = 7
				var err2 error
				if !stop {
					err2 = l.Record(map[int]Recipient{0: second})
				}
				q.ops = &realOps
				l.Unlock()
				e, rerr := q.Read(id)
				if rerr != nil {
					t.Fatalf("%s, fault %d: %v", what, at, rerr)
				}
				if err == nil && e.Recipients[1].State != Delivered {
					t.Errorf("fault %d: recorded, and the entry says %s", at, e.Recipients[1].State)
				}
				if s := e.Recipients[1].State; s != Delivered && s != Waiting || e.Recipients[0].State != Waiting {
					t.Errorf("fault %d: %+v", at, e.Recipients)
				}
				if !stop && err2 == nil && e.Recipients[0].Attempts != 7 {
					t.Errorf("fault %d: the record after the fault is lost: %+v", at, e.Recipients)
				}
				if readAll(t, q, id) != "x\n" {
					t.Errorf("fault %d: the message is not whole", at)
				}
				if f.n < at {
					break
				}
			}
		}
		for at := 1; ; at++ {
			q := newQueue(t, Options{})
			id := put(t, q, "x\n", "a@example.org")
			l := lock(t, q, id)
			f := &faulty{at: at, stop: stop}
			q.ops = f.ops()
			err := l.Remove()
			q.ops = &realOps
			l.Unlock()
			e, rerr := q.Read(id)
			if rerr == nil && (err == nil || readAll(t, q, e.ID) != "x\n") || rerr != nil && !IsGone(rerr) {
				t.Errorf("fault %d: removed %v, read %v", at, err, rerr)
			}
			if f.n < at {
				break
			}
		}
	}
}
