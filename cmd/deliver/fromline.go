package main

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"pennypost/internal/mbox"
	"pennypost/internal/message"
)

// maxTopLines bounds what is looked at for lines of the caller.
const maxTopLines = 8 << 10

// callersLines are the fields that callers put on top for the command they call, beside a From_ line.
var callersLines = []string{"Return-Path", "Delivered-To", "X-Original-To"}

// withoutTop is m without what its caller put on top of it. That is a From_ line, which below our Return-Path would end the
// header: Postfix's local(8), Exim's pipe transport and procmail write one. With preline it is also the callersLines there, up
// to the first other field: the Delivered-To line of OpenSMTPD or preline(1) says that the message is about to be delivered,
// and not that it was. Anything else that starts with "From " than "From sender date" is the message's own and stays.
func withoutTop(m *message.Message, preline bool) (*message.Message, error) {
	start := make([]byte, min(maxTopLines, m.Size()))
	if n, err := m.ReadAt(start, 0); err != nil && (err != io.EOF || n < len(start)) {
		return nil, err
	}
	cut := 0
	line, rest, whole := bytes.Cut(start, []byte("\n"))
	if sender, _, ok := mbox.ParseFrom(line); whole && ok && sender != "" {
		cut = len(line) + 1
	} else {
		rest = start
	}
	for preline {
		line, rest, whole = bytes.Cut(rest, []byte("\n"))
		name, _, _ := bytes.Cut(line, []byte(":"))
		is := func(f string) bool { return strings.EqualFold(f, string(name)) }
		if !whole || len(name) == len(line) || !slices.ContainsFunc(callersLines, is) {
			break
		}
		cut += len(line) + 1
	}
	if cut == 0 {
		return m, nil
	}
	return m.Without([]message.Span{{Off: 0, Len: int64(cut)}}), nil
}
