package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync"

	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// recordTo has the dialogues recorded in a file, which only its owner may read when it is made here.
func (s *sender) recordTo(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return status.Errorf(status.Config, "open %q for recordings: %w", file, err)
	}
	r := &recording{f: f}
	s.close = append(s.close, func() error { return r.close(s.stderr) })
	s.smtp.Transcript = s.smtp.Transcript.And(smtp.NewRecording(r, smtp.ClientRole))
	return nil
}

// recording keeps the first trouble with its file: that does not keep a message from being sent. Dialogues are recorded at the
// same time.
type recording struct {
	f   *os.File
	mu  sync.Mutex
	err error
}

func (r *recording) Write(b []byte) (int, error) {
	n, err := r.f.Write(b)
	if err != nil {
		r.mu.Lock()
		r.err = cmp.Or(r.err, err)
		r.mu.Unlock()
	}
	return n, err
}

// close warns of a recording that is not whole.
func (r *recording) close(stderr io.Writer) error {
	err := r.f.Close()
	if err = cmp.Or(r.err, err); err != nil {
		fmt.Fprintf(stderr, "smtpsend: the recording is not whole: %v\n", err)
	}
	return err
}
