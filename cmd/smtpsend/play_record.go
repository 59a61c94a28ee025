package main

import (
	"os"

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
	s.close = append(s.close, f.Close)
	s.smtp.Transcript = s.smtp.Transcript.And(smtp.NewRecording(f, smtp.ClientRole))
	return nil
}
