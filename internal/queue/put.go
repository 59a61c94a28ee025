package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// Put takes a message into the queue, first to be sent at due, and returns when it is on disk. A disk that is nearly full,
// or a queue that is, refuses it for now (452 4.3.1).
func (q *Queue) Put(m *message.Message, e *envelope.Envelope, now, due time.Time) (ID, error) {
	if len(e.Recipients) == 0 {
		return "", status.Errorf(status.Usage, "queue: no recipient")
	}
	id := newID(now)
	head, err := header(e, now, due, m.Size())
	if err != nil {
		return "", err
	}
	if err := q.room(id, m.Size()+int64(len(head))); err != nil {
		return "", err
	}
	if err := q.put(id, m, head, due); err != nil {
		return "", failed("put", id, err)
	}
	return id, nil
}

// ReleaseTime is when a message that comes now may be sent first: now, or as FUTURERELEASE asks (RFC 4865). What is no time
// there is now.
func ReleaseTime(e *envelope.Envelope, now time.Time) time.Time {
	if n, err := strconv.ParseInt(e.HoldFor, 10, 32); e.HoldFor != "" && err == nil && n > 0 {
		return now.Add(time.Duration(n) * time.Second)
	}
	if at, err := time.Parse(time.RFC3339, e.HoldUntil); e.HoldUntil != "" && err == nil && at.After(now) {
		return at
	}
	return now
}

// Accept is Put of a message that comes now.
func (q *Queue) Accept(_ context.Context, m *message.Message, e *envelope.Envelope) error {
	now := time.Now()
	_, err := q.Put(m, e, now, ReleaseTime(e, now))
	return err
}

// Into is Accept for the queue at dir, which is opened for each message: whoever forwards seldom need not hold one open.
func Into(dir string, o Options) func(context.Context, *message.Message, *envelope.Envelope) error {
	return func(ctx context.Context, m *message.Message, e *envelope.Envelope) error {
		q, err := Open(dir, o)
		if err != nil {
			return err
		}
		defer q.Close()
		return q.Accept(ctx, m, e)
	}
}

// Check tells what stands in the way of Open, as far as that shows without making anything.
func Check(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(filepath.Dir(filepath.Clean(dir)))
		if err != nil {
			return status.Errorf(status.CantCreate, "make the queue: %w", err)
		}
	}
	switch {
	case err != nil:
		return status.Errorf(status.Config, "open the queue: %w", err)
	case !info.IsDir():
		return status.Errorf(status.Config, "open the queue: %q is no directory, or in none", dir)
	}
	return nil
}

// put stages both files and gives them their names, the envelope last: with it the message is in the queue.
func (q *Queue) put(id ID, m *message.Message, head string, due time.Time) error {
	msg, env := string(id)+extMessage, string(id)+extEnvelope
	if err := q.stage(msg, func(w io.Writer) error { return copyAll(w, m) }); err != nil {
		return err
	}
	err := q.stage(env, func(w io.Writer) error {
		_, err := io.WriteString(w, head)
		return err
	})
	if err != nil {
		q.ops.remove(q.root, dirTmp+"/"+msg)
		return err
	}
	q.ops.chtimes(q.root, dirTmp+"/"+env, due) // a hint only, see Due
	if err := q.place(id, msg, env); err != nil {
		q.ops.remove(q.root, dirTmp+"/"+env)
		q.ops.remove(q.root, dirTmp+"/"+msg)
		return err
	}
	return nil
}

// place renames the staged files and syncs the directory they come to. What fails is taken back: a message that was refused
// must not be sent.
func (q *Queue) place(id ID, msg, env string) error {
	made := false
	err := q.ops.rename(q.root, dirTmp+"/"+msg, id.message())
	if errors.Is(err, fs.ErrNotExist) {
		if err = q.ops.mkdir(q.root, id.bucket()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = true
		err = q.ops.rename(q.root, dirTmp+"/"+msg, id.message())
	}
	if err != nil {
		return err
	}
	if err = q.ops.rename(q.root, dirTmp+"/"+env, id.envelope()); err == nil {
		err = q.ops.syncDir(q.root, id.bucket())
	}
	if err == nil && made {
		err = q.ops.syncDir(q.root, dirMail)
	}
	if err != nil {
		return errors.Join(err, q.takeBack(id))
	}
	return nil
}

// takeBack removes an entry that could not be made durable; it is out of the queue with its envelope.
func (q *Queue) takeBack(id ID) error {
	err := q.ops.remove(q.root, id.envelope())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s stays in the queue: %w", id, err)
	}
	q.ops.remove(q.root, id.message())
	return nil
}

// copyAll writes the whole message, and fails when bytes of it are missing.
func copyAll(w io.Writer, m *message.Message) error {
	b := bufio.NewWriterSize(w, 64<<10)
	n, err := io.Copy(b, m.Reader())
	if err == nil && n != m.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = b.Flush()
	}
	return err
}

// room refuses a message for which there is none.
func (q *Queue) room(id ID, size int64) error {
	full := func(format string, a ...any) error {
		return status.Errorf(status.TempFail, "queue: "+format, a...).WithReply(452, "4.3.1")
	}
	if q.o.MinFree >= 0 {
		if free, ok := freeBytes(q.root); ok && free-size < q.o.MinFree {
			return full("%d bytes are free on the disk, %d must stay so", free, q.o.MinFree)
		}
	}
	// To count a large queue for each message would make it slow, and one directory of the many tells enough.
	where, most := id.bucket(), q.o.MaxEntries/buckets+1
	if q.o.MaxEntries < 4*buckets {
		where, most = "", q.o.MaxEntries
	}
	n, err := q.count(where)
	if err != nil {
		return failed("count before", id, err)
	}
	if n >= most {
		return full("there are about %d entries already", q.o.MaxEntries)
	}
	return nil
}
