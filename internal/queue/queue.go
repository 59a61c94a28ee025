// Package queue keeps outgoing mail on disk until each recipient's fate is known: see queue(5).
//
// It hides the directory: staging, syncing, locks, and how much of what a crash left behind counts. Only files and their
// names are state, so what is true after a crash is what the files say:
//
//	tmp/ID.msg, tmp/ID.env           being written; nobody was promised anything. Removed after 36 hours.
//	mail/HH/ID.msg alone             put half, or removed half: not in the queue. Removed after 36 hours.
//	mail/HH/ID.msg and ID.env        in the queue. The message is whole and never changes; the envelope is a header that
//	                                 never changes, and records of which later ones count for more. A last record
//	                                 without its line end was being written and does not count.
//	mail/HH/ID.env alone, or one     damaged by something else than this package. Moved to corrupt/, named in the log,
//	that cannot be read              and in nobody's way.
//
// It guarantees that Put returns only when the message would survive a crash; that Record does so for what it was told;
// that a message is worked on by one process at a time, by a lock on its envelope that ends with the process; and that a
// message leaves the queue only by Remove.
package queue

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"pennypost/internal/status"
)

const (
	dirMail    = "mail"
	dirTmp     = "tmp"
	dirCorrupt = "corrupt"

	extMessage  = ".msg"
	extEnvelope = ".env"

	alphabet   = "0123456789abcdefghijklmnopqrstuvwxyz"
	timeDigits = 11 // of base 36: microseconds until the year 5188
	randDigits = 4
	buckets    = 36 * 36

	// DefaultMinFree and DefaultMaxEntries bound a queue: see Options.
	DefaultMinFree    = 64 << 20
	DefaultMaxEntries = 1_000_000

	halfAge = 36 * time.Hour // of what was staged and never finished
)

// ErrBusy says that another process works on the entry.
var ErrBusy = errors.New("another process works on it")

// Options bound a queue.
type Options struct {
	MinFree    int64 // bytes that must be free on the disk after a Put; 0 = DefaultMinFree, negative = no matter
	MaxEntries int   // about how many entries there may be; 0 = DefaultMaxEntries
	Log        *slog.Logger
}

// A Queue is an open directory. Its methods may be used by several goroutines and processes.
type Queue struct {
	root *os.Root
	ops  *ops
	o    Options
}

// ID names an entry: when it came, to the microsecond in base 36, and four random digits. IDs sort by time.
type ID string

// Open opens the directory and makes what is missing of it, mode 0700.
func Open(dir string, o Options) (*Queue, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, status.Errorf(status.CantCreate, "make the queue: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, status.Errorf(status.Config, "open the queue: %w", err)
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{root: root, ops: &realOps, o: o}
	for _, name := range []string{dirMail, dirTmp, dirCorrupt} {
		if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			root.Close()
			return nil, status.Errorf(status.CantCreate, "make the queue: %w", err)
		}
	}
	return q, nil
}

// Close gives the directory back.
func (q *Queue) Close() error { return q.root.Close() }

// Root is the directory, for what others keep beside the mail. It stays the Queue's.
func (q *Queue) Root() *os.Root { return q.root }

// newID makes an ID that nobody else makes.
func newID(now time.Time) ID {
	id := base36(uint64(max(now.UnixMicro(), 0)), timeDigits)
	var r [randDigits]byte
	rand.Read(r[:])
	for _, b := range r {
		id += string(alphabet[int(b)%len(alphabet)])
	}
	return ID(id)
}

func base36(n uint64, digits int) string {
	b := make([]byte, digits)
	for i := digits - 1; i >= 0; i-- {
		b[i] = alphabet[n%36]
		n /= 36
	}
	return string(b)
}

// ParseID takes what may be an ID: nothing else becomes part of a path.
func ParseID(s string) (ID, error) {
	if len(s) != timeDigits+randDigits || strings.Trim(s, alphabet) != "" {
		return "", status.Errorf(status.Usage, "%q is not the name of an entry", status.Escape(s, 40))
	}
	return ID(s), nil
}

// bucket is the directory of the entry below the queue.
func (id ID) bucket() string { return dirMail + "/" + id.hash() }

func (id ID) hash() string { return string(id[len(id)-2:]) }

func (id ID) message() string  { return id.bucket() + "/" + string(id) + extMessage }
func (id ID) envelope() string { return id.bucket() + "/" + string(id) + extEnvelope }

// ops are the calls that change the disk. Tests put others in their place to let each fail, or everything stop, in turn.
type ops struct {
	create  func(root *os.Root, name string) (*os.File, error)
	mkdir   func(root *os.Root, name string) error
	write   func(f *os.File, b []byte) (int, error)
	sync    func(f *os.File) error
	cut     func(f *os.File, size int64) error
	rename  func(root *os.Root, from, to string) error
	remove  func(root *os.Root, name string) error
	syncDir func(root *os.Root, name string) error
	chtimes func(root *os.Root, name string, at time.Time) error
}

var realOps = ops{
	create: func(root *os.Root, name string) (*os.File, error) {
		return root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	},
	mkdir:   func(root *os.Root, name string) error { return root.Mkdir(name, 0o700) },
	write:   (*os.File).Write,
	sync:    (*os.File).Sync,
	cut:     (*os.File).Truncate,
	rename:  (*os.Root).Rename,
	remove:  (*os.Root).Remove,
	syncDir: syncDir,
	chtimes: func(root *os.Root, name string, at time.Time) error { return root.Chtimes(name, at, at) },
}

func syncDir(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// opsWriter writes through ops.
type opsWriter struct {
	o *ops
	f *os.File
}

func (w opsWriter) Write(b []byte) (int, error) { return w.o.write(w.f, b) }

// stage writes a file into tmp and syncs it. It is removed when that fails.
func (q *Queue) stage(name string, fill func(io.Writer) error) error {
	f, err := q.ops.create(q.root, dirTmp+"/"+name)
	if err != nil {
		return err
	}
	err = fill(opsWriter{q.ops, f})
	if err == nil {
		err = q.ops.sync(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		q.ops.remove(q.root, dirTmp+"/"+name)
	}
	return err
}

func failed(what string, id ID, err error) error {
	return status.Of(fmt.Errorf("queue: %s %s: %w", what, id, err))
}
