package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Many are read in their order, whatever became of some of them, and one with more recipients than a buffer holds too.
func TestReadAll(t *testing.T) {
	q := newQueue(t, Options{})
	var many []string
	for n := range 1000 {
		many = append(many, fmt.Sprintf("recipient-%d@b.example", n))
	}
	var want []ID
	m, e := letter(t, "Subject: many\n\n", many...)
	last, err := q.Put(m, e, noon.Add(time.Second), noon) // the others sort by chance, and some of them are damaged below
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, last)
	for n := range 39 {
		want = append(want, put(t, q, "Subject: one\n\n"+strings.Repeat("x", n), fmt.Sprintf("r%d@b.example", n)))
	}
	ids, err := q.IDs()
	if err != nil || len(ids) != 40 {
		t.Fatalf("got %d entries, %v", len(ids), err)
	}
	slices.Sort(want)
	if err := os.Remove(filepath.Join(q.root.Name(), ids[3].envelope())); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(q.root.Name(), ids[4].message())); err != nil {
		t.Fatal(err)
	}
	if err := replace(filepath.Join(q.root.Name(), ids[4].envelope()), "size ", "X="); err != nil {
		t.Fatal(err)
	}
	if err := replace(filepath.Join(q.root.Name(), ids[5].envelope()), form, "another"); err != nil {
		t.Fatal(err)
	}
	if err := replace(filepath.Join(q.root.Name(), ids[6].envelope()), "size ", "X="); err != nil { // as it was before
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(q.root.Name(), ids[8].message())); err != nil {
		t.Fatal(err)
	}
	at, recipients := 0, 0
	for e, err := range q.ReadAll(ids) {
		switch at {
		case 3:
			if !IsGone(err) {
				t.Errorf("removed: got %v", err)
			}
		case 4, 5:
			if err == nil || IsGone(err) {
				t.Errorf("damaged %d: got %v", at, err)
			}
		default:
			if err != nil {
				t.Fatal(err)
			}
			if at == 8 { // nobody looked
				recipients++
				break
			}
			one, err := q.Read(ids[at])
			if err != nil || e.ID != want[at] || one.Size != e.Size || len(one.Recipients) != len(e.Recipients) {
				t.Errorf("%d: got %+v, %v, want %+v", at, e, err, one)
			}
			recipients += len(e.Recipients)
		}
		at++
	}
	if at != 40 || recipients < 1000+35 {
		t.Errorf("got %d entries with %d recipients", at, recipients)
	}
	for range q.ReadAll(ids) {
		break
	}
	if all, err := q.IDs(); err != nil || len(all) != 36 {
		t.Errorf("after the damaged ones were set aside: %d, %v", len(all), err)
	}
}

// BenchmarkReadAll is what a list of the queue costs for each entry.
func BenchmarkReadAll(b *testing.B) {
	q := newQueue(b, Options{MaxEntries: 1 << 20})
	fast := *q.ops
	fast.sync, fast.syncDir = func(*os.File) error { return nil }, func(*os.Root, string) error { return nil }
	q.ops = &fast
	m, e := letter(b, "Subject: x\n\n", "you@b.example")
	for range 5000 {
		if _, err := q.Put(m, e, time.Now(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	ids, err := q.IDs()
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += len(ids) {
		for _, err := range q.ReadAll(ids[:min(len(ids), b.N-n)]) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// Directories stay open from one part to the next only as far as there is room for more.
func TestReadWithFewFiles(t *testing.T) {
	q := newQueue(t, Options{})
	var ids []ID
	for range 30 {
		ids = append(ids, put(t, q, "Subject: one\n\n", "a@b.example"))
	}
	mail, err := openMail(q.root)
	if err != nil {
		t.Fatal(err)
	}
	defer mail.close()
	f := folders{mail: mail, room: 4}
	defer f.close()
	for some := range slices.Chunk(ids, 3) {
		c := chunk{make([]*Entry, len(some)), make([]error, len(some))}
		q.readChunk(&f, some, c)
		for i, e := range c.entries {
			if c.errs[i] != nil || e.ID != some[i] {
				t.Errorf("%s: got %v, %v", some[i], e, c.errs[i])
			}
		}
		if len(f.open) == 0 || len(f.open) > f.room {
			t.Errorf("%d directories are open, and there is room for %d", len(f.open), f.room)
		}
	}
}
