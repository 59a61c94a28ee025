// Package message holds the bytes of a mail.
//
// It hides where they are: in memory below 64 kB, in an unlinked file above, in a file that was given, or in a view that
// adds and leaves out parts of another. It guarantees that what comes out is byte for byte what came in, that a mail of any
// size takes bounded memory, and that header fields are kept verbatim and in order. Between our programs lines end in LF
// (mailpipe(7)); ToCRLF and ToLF change that at the wire.
package message

import (
	"bytes"
	"errors"
	"io"
	"os"

	"pennypost/internal/status"
)

// MaxMemory is the size up to which a message is spooled in memory.
const MaxMemory = 64 << 10

// Message is an immutable sequence of bytes. It is an io.ReaderAt, safe for use by several goroutines.
type Message struct {
	ra     io.ReaderAt
	size   int64
	closer io.Closer // nil for what is not ours to close
}

// New is a message over bytes that somebody else keeps and closes.
func New(ra io.ReaderAt, size int64) *Message { return &Message{ra: ra, size: size} }

// Bytes is a message of the given bytes, which must not change any more.
func Bytes(b []byte) *Message { return New(bytes.NewReader(b), int64(len(b))) }

// Size is the number of bytes.
func (m *Message) Size() int64 { return m.size }

// ReadAt reads as io.ReaderAt does.
func (m *Message) ReadAt(p []byte, off int64) (int, error) {
	if off >= m.size {
		return 0, io.EOF
	}
	if int64(len(p)) > m.size-off {
		n, err := m.ra.ReadAt(p[:m.size-off], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return m.ra.ReadAt(p, off)
}

// Reader reads the whole message from its start, apart from other readers of it.
func (m *Message) Reader() *io.SectionReader { return io.NewSectionReader(m, 0, m.size) }

// Close gives back the memory or the file. Views of the message cannot be read any more.
func (m *Message) Close() error {
	if m.closer == nil {
		return nil
	}
	return m.closer.Close()
}

// File is the message as an unlinked, complete file at offset 0, as a child wants it on its stdin. Its offset is its own.
// The caller closes it.
func (m *Message) File() (*os.File, error) {
	if own, ok := m.ra.(*os.File); ok {
		if f, err := reopen(own, m.size); err == nil {
			return f, nil
		}
	}
	f, err := tempFile()
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(f, m.Reader()); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, status.Errorf(status.IO, "write message to a spool file: %w", err)
	}
	return f, nil
}

// FromFile is the message in f from offset 0 to its end. A regular file is used as it is and must not change; what cannot
// seek is spooled. max is the limit in bytes, 0 for none: beyond it the error is 552 5.3.4 (RFC 1870).
func FromFile(f *os.File, max int64) (*Message, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, status.Errorf(status.NoInput, "read message from %s: %w", f.Name(), err)
	}
	if !info.Mode().IsRegular() {
		return Spool(f, max)
	}
	if max > 0 && info.Size() > max {
		return nil, tooBig(max)
	}
	return New(f, info.Size()), nil
}

// Spool reads r to its end and keeps the bytes. max is the limit in bytes, 0 for none: the error beyond it is 552 5.3.4 and
// the rest of r is left unread.
func Spool(r io.Reader, max int64) (*Message, error) {
	w := NewWriter(max)
	if _, err := io.Copy(w, r); err != nil {
		w.Discard()
		var known *status.Error
		if errors.As(err, &known) {
			return nil, known
		}
		return nil, status.Errorf(status.IO, "read message: %w", err)
	}
	return w.Message()
}

// tempFile is an unlinked file that only this process and those it gives it to can read.
func tempFile() (*os.File, error) {
	f, err := os.CreateTemp("", "message-*")
	if err != nil {
		return nil, status.Errorf(status.CantCreate, "create a spool file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, status.Errorf(status.CantCreate, "unlink a spool file: %w", err)
	}
	return f, nil
}

func tooBig(max int64) *status.Error {
	return status.Errorf(status.Data, "message is larger than the limit of %d bytes", max).WithReply(552, "5.3.4")
}
