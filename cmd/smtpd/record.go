package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"pennypost/internal/message"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// maxRecording is the largest recording of one session; a larger one is not written.
const maxRecording = 1 << 30

// recorder appends the recordings of sessions to a file, each as a whole.
type recorder struct {
	mu   sync.Mutex
	file *os.File
	log  *slog.Logger
}

// newRecorder opens the file, which only its owner may read when it is made here.
func newRecorder(path string, log *slog.Logger) (*recorder, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, status.Errorf(status.Config, "open %q for recordings: %w", path, err)
	}
	return &recorder{file: f, log: log}, nil
}

// session is where the recording of a session goes. It is kept beside the file until the session is over.
func (r *recorder) session(f *smtp.Facts) io.WriteCloser {
	x := &recording{recorder: r, id: f.Session, spool: message.NewWriter(maxRecording)}
	peer := f.Envelope.Conn.RemoteIP
	if peer == "" {
		peer = "local"
	}
	fmt.Fprintf(x, "# session %s with %s at %s\n", f.Session, status.Escape(peer, 100), time.Now().UTC().Format(time.RFC3339))
	return x
}

type recording struct {
	*recorder
	id    string
	spool *message.Writer
}

func (x *recording) Write(b []byte) (int, error) { return x.spool.Write(b) }

// Close appends the recording. What fails does not touch the mail, so it is only logged; a part is taken away again.
func (x *recording) Close() error {
	m, err := x.spool.Message()
	if err == nil {
		err = x.append(m)
		m.Close()
	}
	if err != nil {
		x.log.Warn("session not recorded", "sid", x.id, "err", err)
	}
	return err
}

func (x *recording) append(m *message.Message) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	unlock, err := lockFile(x.file)
	if err != nil {
		return err
	}
	defer unlock()
	size, err := x.file.Seek(0, io.SeekEnd)
	if err != nil {
		size = -1 // not a regular file
	}
	if _, err := io.Copy(x.file, m.Reader()); err != nil {
		if size >= 0 {
			x.file.Truncate(size)
		}
		return err
	}
	return nil
}
