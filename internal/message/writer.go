package message

import (
	"bytes"
	"os"

	"pennypost/internal/status"
)

// Writer spools a message that arrives piece by piece.
type Writer struct {
	max  int64
	size int64
	mem  []byte
	file *os.File
	err  error
}

// NewWriter spools at most max bytes, 0 for no limit.
func NewWriter(max int64) *Writer { return &Writer{max: max} }

// Write keeps p. After an error, such as 552 5.3.4 beyond the limit, every further call returns it again.
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
		if err := w.toFile(w.mem); err != nil {
			return 0, err
		}
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
	if _, err := w.file.Write(p); err != nil {
		w.err = status.Of(status.Errorf(status.IO, "write message to a spool file: %w", err))
		if e := status.Of(err); e.Code == 452 { // full disk keeps its own reply
			w.err = status.Errorf(status.TempFail, "write message to a spool file: %w", err).WithReply(e.Code, e.Enhanced)
		}
	}
	return w.err
}

// Size is the number of bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// Message is what was written; the writer must not be used any more. After a failed Write it is that error, so that a
// message is complete or not there.
func (w *Writer) Message() (*Message, error) {
	if w.err != nil {
		w.Discard()
		return nil, w.err
	}
	if w.file == nil {
		return &Message{ra: bytes.NewReader(w.mem), size: w.size}, nil
	}
	return &Message{ra: w.file, size: w.size, closer: w.file}, nil
}

// Discard gives up what was written.
func (w *Writer) Discard() {
	w.mem = nil
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	if w.err == nil {
		w.err = os.ErrClosed
	}
}
