package message

import (
	"bytes"
	"os"
	"sync"

	"pennypost/internal/status"
)

// Writer spools a message that arrives piece by piece.
type Writer struct {
	max  int64
	size int64
	mem  []byte
	file *os.File
	out  *block // what is still to be written to file
	used int    // bytes of it
	err  error
}

// block is how much goes to a spool file at once: whole pages at their places cost the system half of what other pieces do.
type block [128 << 10]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

// NewWriter spools at most max bytes, 0 for no limit.
func NewWriter(max int64) *Writer { return &Writer{max: max} }

// Write keeps p. After an error, such as 552 5.3.4 beyond the limit, every further call returns it again. That of a full disk
// may come later than the bytes for which there was no room.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.max > 0 && w.size+int64(len(p)) > w.max {
		w.err = tooBig(w.max)
		return 0, w.err
	}
	if w.file == nil && len(w.mem)+len(p) > MaxMemory {
		if w.file, w.err = tempFile(); w.err != nil {
			return 0, w.err
		}
		w.out = blocks.Get().(*block)
		w.used = copy(w.out[:], w.mem)
		w.mem = nil
	}
	if w.file == nil {
		w.mem = append(w.mem, p...)
	} else if err := w.toFile(p); err != nil {
		return 0, err
	}
	w.size += int64(len(p))
	return len(p), nil
}

func (w *Writer) toFile(p []byte) error {
	for len(p) > 0 {
		n := copy(w.out[w.used:], p)
		w.used += n
		p = p[n:]
		if w.used == len(w.out) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what is in the block.
func (w *Writer) flush() error {
	if _, err := w.file.Write(w.out[:w.used]); err != nil {
		w.err = status.Of(status.Errorf(status.IO, "write message to a spool file: %w", err))
		if e := status.Of(err); e.Code == 452 { // full disk keeps its own reply
			w.err = status.Errorf(status.TempFail, "write message to a spool file: %w", err).WithReply(e.Code, e.Enhanced)
		}
	}
	w.used = 0
	return w.err
}

// release gives the block back.
func (w *Writer) release() {
	if w.out != nil {
		blocks.Put(w.out)
		w.out = nil
	}
}

// Size is the number of bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// Message is what was written; the writer must not be used any more. After a failed Write it is that error, so that a
// message is complete or not there.
func (w *Writer) Message() (*Message, error) {
	if w.err == nil && w.file != nil {
		w.flush()
	}
	if w.err != nil {
		w.Discard()
		return nil, w.err
	}
	w.release()
	if w.file == nil {
		return &Message{ra: bytes.NewReader(w.mem), size: w.size}, nil
	}
	return &Message{ra: w.file, size: w.size, closer: w.file}, nil
}

// Discard gives up what was written.
func (w *Writer) Discard() {
	w.mem = nil
	w.release()
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	if w.err == nil {
		w.err = os.ErrClosed
	}
}
