package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"runtime"
	"slices"
	"sync"
)

// readAtOnce is how many entries are read together when many are: enough that each directory has several of them.
const readAtOnce = 16 << 10

// Read reads an entry without locking it. fs.ErrNotExist when it is gone; a damaged one is set aside, and gone too.
func (q *Queue) Read(id ID) (*Entry, error) {
	dir, err := q.root.Open(id.bucket())
	if err != nil {
		return nil, failed("read", id, err)
	}
	defer dir.Close()
	return q.read(dir, id, nil)
}

// ReadAll reads entries as Read does, in the order of ids, several at a time, and some ahead of the one whose turn it is. An
// error belongs to that one.
func (q *Queue) ReadAll(ids []ID) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		ahead, stop := make(chan chunk), make(chan struct{})
		var reader sync.WaitGroup
		defer reader.Wait()
		defer close(stop)
		reader.Go(func() {
			defer close(ahead)
			for some := range slices.Chunk(ids, readAtOnce) {
				select {
				case ahead <- q.readChunk(some):
				case <-stop:
					return
				}
			}
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

// readChunk opens each directory once.
func (q *Queue) readChunk(ids []ID) chunk {
	places := make(map[string][]int)
	for i, id := range ids {
		places[id.bucket()] = append(places[id.bucket()], i)
	}
	c := chunk{make([]*Entry, len(ids)), make([]error, len(ids))}
	work := make(chan []int)
	var all sync.WaitGroup
	for range min(2*runtime.GOMAXPROCS(0), len(places)) { // more than there are processors: the disk may have to be waited for
		all.Go(func() {
			for some := range work {
				q.readBucket(ids, some, c)
			}
		})
	}
	for _, some := range places {
		work <- some
	}
	close(work)
	all.Wait()
	return c
}

// readBucket reads the entries at these places of ids, which are in one directory.
func (q *Queue) readBucket(ids []ID, places []int, c chunk) {
	dir, err := q.root.Open(ids[places[0]].bucket())
	if err == nil {
		defer dir.Close()
	}
	buf := make([]byte, readBuffer)
	for _, i := range places {
		if err != nil {
			c.errs[i] = failed("read", ids[i], err)
			continue
		}
		c.entries[i], c.errs[i] = q.read(dir, ids[i], buf)
	}
}

// readBuffer is the size of a buffer into which nearly every envelope file fits.
const readBuffer = 8 << 10

// read reads an entry out of its open directory, through buf where it fits into that.
func (q *Queue) read(dir *os.File, id ID, buf []byte) (*Entry, error) {
	text, err := readFile(dir, string(id)+extEnvelope, buf, maxEnvelope)
	if err != nil {
		return nil, failed("read", id, err)
	}
	e, err := load(dir, id, text)
	if err != nil {
		return nil, q.unreadable(id, err)
	}
	return e, nil
}

// load is the entry of which text is the envelope file, with the size of the message beside it.
func load(dir *os.File, id ID, text []byte) (*Entry, error) {
	if len(text) > maxEnvelope {
		return nil, fmt.Errorf("%w: it has more than %d bytes", errDamaged, maxEnvelope)
	}
	e, err := parse(id, string(text))
	if err != nil {
		return nil, err
	}
	e.Size, err = fileSize(dir, string(id)+extMessage)
	if !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	if _, gone := fileSize(dir, string(id)+extEnvelope); gone == nil { // whoever removes an entry begins with that
		return nil, fmt.Errorf("%w: there is no message", errDamaged)
	}
	return nil, err
}
