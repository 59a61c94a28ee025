package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// readAtOnce is how many entries are read together when many are.
const readAtOnce = 1 << 10

// Read reads an entry without locking it. fs.ErrNotExist when it is gone; a damaged one is set aside, and gone too.
func (q *Queue) Read(id ID) (*Entry, error) {
	mail, err := openMail(q.root)
	if err != nil {
		return nil, failed("read", id, err)
	}
	defer mail.close()
	dir, err := mail.folder(id.hash())
	if err != nil {
		return nil, failed("read", id, err)
	}
	defer dir.close()
	return q.read(dir, id, nil, true)
}

// ReadAll reads entries in the order of ids, several at a time, and some ahead of the one whose turn it is. An error belongs
// to that one. Unlike Read and Lock it does not look at messages whose envelopes say how large they are.
func (q *Queue) ReadAll(ids []ID) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		ahead, stop := make(chan chunk), make(chan struct{})
		var reader sync.WaitGroup
		defer reader.Wait()
		defer close(stop)
		reader.Go(func() {
			defer close(ahead)
			q.readChunks(ids, ahead, stop)
		})
		for c := range ahead {
			for i, e := range c.entries {
				if !yield(e, c.errs[i]) {
					return
				}
			}
		}
	}
}

// chunk is what became of some entries: an entry or an error for each.
type chunk struct {
	entries []*Entry
	errs    []error
}

// readChunks reads ahead until it is stopped.
func (q *Queue) readChunks(ids []ID, ahead chan<- chunk, stop <-chan struct{}) {
	mail, err := openMail(q.root)
	if err == nil {
		defer mail.close()
	}
	f := folders{mail: mail, room: max(maxOpen()/2, 1)}
	defer f.close()
	for some := range slices.Chunk(ids, min(readAtOnce, f.room)) {
		c := chunk{make([]*Entry, len(some)), make([]error, len(some))}
		if err == nil {
			q.readChunk(&f, some, c)
		}
		for i := range some {
			if err != nil {
				c.errs[i] = failed("read", some[i], err)
			}
		}
		select {
		case ahead <- c:
		case <-stop:
			return
		}
	}
}

func (q *Queue) readChunk(f *folders, ids []ID, c chunk) {
	f.makeRoom(len(ids))
	places := make([]int, len(ids))
	for i := range places {
		places[i] = i
	}
	parallel(places, func(i int, buf []byte) {
		dir, err := f.folder(ids[i].hash())
		if err != nil {
			c.errs[i] = failed("read", ids[i], err)
			return
		}
		c.entries[i], c.errs[i] = q.read(dir, ids[i], buf, false)
	})
}

// folders are directories of entries that stay open while many entries are read.
type folders struct {
	mail *mailDir
	room int // how many may be open
	mu   sync.Mutex
	open map[string]*folder
}

// makeRoom is called before so many are asked for, when none is in use.
func (f *folders) makeRoom(n int) {
	if f.open == nil || len(f.open)+n > f.room {
		f.close()
		f.open = make(map[string]*folder)
	}
}

func (f *folders) folder(name string) (*folder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.open[name]; d != nil {
		return d, nil
	}
	d, err := f.mail.folder(name)
	if err == nil {
		f.open[name] = d
	}
	return d, err
}

func (f *folders) close() {
	for _, d := range f.open {
		d.close()
	}
}

// parallel does something with each, several at a time, each with a buffer: more than there are processors, since the disk
// may have to be waited for.
func parallel[T any](list []T, do func(one T, buf []byte)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(2*runtime.GOMAXPROCS(0), len(list)) {
		all.Go(func() {
			buf := make([]byte, readBuffer)
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				do(list[i], buf)
			}
		})
	}
	all.Wait()
}

// readBuffer is the size of a buffer into which nearly every envelope file fits, and many names.
const readBuffer = 16 << 10

// read reads an entry out of its open directory, through buf where it fits into that. See load.
func (q *Queue) read(dir *folder, id ID, buf []byte, look bool) (*Entry, error) {
	text, err := dir.read(string(id)+extEnvelope, buf, maxEnvelope)
	if err != nil {
		return nil, failed("read", id, err)
	}
	e, err := load(dir, id, text, look)
	if err != nil {
		return nil, q.unreadable(id, err)
	}
	return e, nil
}

// load is the entry of which text is the envelope file. It looks at the message beside it when it is told to, or when the
// envelope does not say its size.
func load(dir *folder, id ID, text []byte, look bool) (*Entry, error) {
	if len(text) > maxEnvelope {
		return nil, fmt.Errorf("%w: it has more than %d bytes", errDamaged, maxEnvelope)
	}
	e, err := parse(id, string(text))
	if err != nil || !look && e.Size >= 0 {
		return e, err
	}
	size, _, err := dir.stat(string(id) + extMessage)
	switch {
	case err == nil && e.Size >= 0 && size != e.Size:
		return nil, fmt.Errorf("%w: the message has %d bytes, and came with %d", errDamaged, size, e.Size)
	case !errors.Is(err, fs.ErrNotExist):
		e.Size = size
		return e, err
	}
	if _, _, gone := dir.stat(string(id) + extEnvelope); gone == nil { // whoever removes an entry begins with that
		return nil, fmt.Errorf("%w: there is no message", errDamaged)
	}
	return nil, err
}
