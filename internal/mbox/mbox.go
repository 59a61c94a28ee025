// Package mbox reads and writes mailboxes that are one file: messages one after
// the other, each behind a line that starts with "From ".
//
// It hides the quoting of such lines inside messages, the rule by which a line
// counts as the start of a message, and what stands between two messages. It
// follows RFC 4155 and the older descriptions of mboxo and mboxrd. It guarantees:
//
//   - bytes: what is written as mboxrd is read back byte for byte, whatever the
//     message holds (8-bit bytes, NUL, CRLF, no final newline, nothing at all);
//     and a mailbox that is read and written again with Copy does not change;
//   - memory: it does not grow with a message, a line or the mailbox;
//   - the From_ line is kept as it came, line end included.
//
// mboxo quotes "From " but not ">From ", so a line ">From " of a message comes
// back as "From ". That loss is the format's.
//
// A message is followed by one empty line. A message that does not end in a
// newline gets one, and its From_ line says so with the words NoNewline behind
// the date, where the format leaves room for remarks; the reader takes the
// newline off again.
package mbox

// Format is the kind of quoting a mailbox uses.
type Format int

const (
	// O quotes lines that start with "From " (mboxo).
	O Format = iota
	// RD quotes lines that start with any number of ">" and "From " (mboxrd).
	RD
)

// Rule says which lines that start with "From " begin a message.
type Rule int

const (
	// Strict wants an empty line or the start of the file before it, and a date on it.
	Strict Rule = iota
	// Blank wants an empty line or the start of the file before it.
	Blank
	// Any takes every line that starts with "From ".
	Any
)

// NoNewline is the remark on the From_ line of a message whose last line has no newline.
const NoNewline = "(no final newline)"

const (
	maxFrom   = 4096     // longest From_ line, line end included
	maxSender = 1024     // longest sender written on a From_ line
	bufSize   = 64 << 10 // must hold maxFrom and an empty line before it
)

var from = []byte("From ")
