package main

import (
	"bytes"
	"io"

	"pennypost/internal/mbox"
	"pennypost/internal/message"
)

// maxFromLine bounds the line that is looked at.
const maxFromLine = 1024

// withoutFromLine is m without a From_ line at its top: Postfix's local(8), Exim's pipe transport and procmail put one there
// for the command they call, and below a Return-Path line it would end the header. Anything but "From sender date" is the
// message's own and stays.
func withoutFromLine(m *message.Message) (*message.Message, error) {
	start := make([]byte, min(maxFromLine, m.Size()))
	if n, err := m.ReadAt(start, 0); err != nil && (err != io.EOF || n < len(start)) {
		return nil, err
	}
	line, _, whole := bytes.Cut(start, []byte("\n"))
	sender, _, ok := mbox.ParseFrom(line)
	if !whole || !ok || sender == "" {
		return m, nil
	}
	return m.Without([]message.Span{{Off: 0, Len: int64(len(line)) + 1}}), nil
}
