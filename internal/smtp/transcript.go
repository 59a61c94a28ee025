package smtp

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"pennypost/internal/dialog"
	"pennypost/internal/status"
)

const (
	transcriptLine = 2048    // bytes of one line kept; the rest of a longer one is not shown
	transcriptHeld = 1 << 16 // bytes kept back while an answer decides what they are
)

// Role says which side of a connection a transcript is taken on.
type Role uint8

const (
	ClientRole Role = iota // what is written are commands, what is read are replies
	ServerRole             // the other way round
)

// Transcript writes what goes over a connection as text, one line for each line of the dialogue: "-> " before what
// the client says, "<- " before what the server says, on either side. The secrets of AUTH (initial responses and
// answers to challenges) stand as [redacted], message data as "[1234 bytes of message]", each line is escaped.
//
// It follows the session by itself: every command line awaits one reply, and what comes after DATA, BDAT or
// AUTH is looked at only when the reply before it says what it is.
type Transcript struct {
	mu      sync.Mutex
	w       io.Writer
	role    Role
	command lineBuffer
	reply   lineBuffer
	awaited []string // verbs of the commands not answered yet, in order
	mode    transcriptMode
	held    []byte // bytes of the client that must wait for a reply
	lost    int64  // bytes of the client beyond that
	count   int64  // bytes of message data so far
	chunk   int64  // bytes of a BDAT chunk to come
	end     []byte // the last bytes of message data, to find its end
	lmtp    bool
	taken   int // recipients accepted in this transaction
	also    *Transcript
	dialog  bool
	text    []byte // of a message, not written yet
}

type transcriptMode uint8

const (
	modeCommand transcriptMode = iota
	modeHold                   // after DATA or AUTH, until its reply
	modeSecret                 // after 334: one line
	modeData                   // after 354: up to CRLF.CRLF
	modeChunk                  // after BDAT: counted bytes
)

// NewTranscript writes to w; each line is one Write.
func NewTranscript(w io.Writer, role Role) *Transcript {
	return &Transcript{w: w, role: role}
}

// Conn is c with everything read and written noted. After the change to TLS the tls.Conn is wrapped anew (never the
// connection under it). A nil Transcript returns c itself.
func (t *Transcript) Conn(c net.Conn) net.Conn {
	if t == nil {
		return c
	}
	return &transcriptConn{Conn: t.also.Conn(c), t: t}
}

// And lets other be taken beside t, of the same connections, and returns t; or other, where t is nil.
func (t *Transcript) And(other *Transcript) *Transcript {
	if t == nil {
		return other
	}
	t.also = other
	return t
}

type transcriptConn struct {
	net.Conn
	t *Transcript
}

func (c *transcriptConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.t.note(b[:n], c.t.role == ServerRole)
	return n, err
}

func (c *transcriptConn) Write(b []byte) (int, error) {
	c.t.note(b, c.t.role == ClientRole) // before the write: the answer may come before it returns
	return c.Conn.Write(b)
}

func (c *transcriptConn) Close() error {
	c.t.closed()
	return c.Conn.Close()
}

// TLS notes the change to TLS and its parameters: "== TLS 1.3 TLS_AES_128_GCM_SHA256". What was awaited before it is
// forgotten, as the session is (RFC 3207 section 4.2).
func (t *Transcript) TLS(s tls.ConnectionState) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flush()
	io.WriteString(t.w, "== "+tls.VersionName(s.Version)+" "+tls.CipherSuiteName(s.CipherSuite)+"\n")
	t.also.TLS(s)
}

// Remark adds a line of our own: "== text".
func (t *Transcript) Remark(format string, a ...any) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.print("== ", fmt.Sprintf(format, a...))
	t.also.Remark(format, a...)
}

// Flush writes lines and message data that have begun and not ended, and forgets the session: closing the connection
// does it, so that one transcript can tell of several connections, one after the other.
func (t *Transcript) Flush() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flush()
	t.also.Flush()
}

// closed is Flush, and tells in a client's recording who ended the connection.
func (t *Transcript) closed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flush()
	if t.dialog && t.role == ClientRole {
		t.step(dialog.Step{Side: dialog.Client, Kind: dialog.EOF})
	}
}

func (t *Transcript) flush() {
	switch {
	case t.mode == modeData || t.mode == modeChunk:
		t.messageEnd(", unfinished", t.count)
	case t.mode == modeHold && len(t.held) > 0:
		t.aside(fmt.Sprintf("[%d bytes not answered]", int64(len(t.held))+t.lost))
	case t.mode == modeSecret && t.command.started():
		t.print("-> ", "[redacted]")
	case t.command.started():
		t.print("-> ", redact(t.command.take()))
	}
	if t.reply.started() {
		t.print("<- ", t.reply.take())
	}
	t.command, t.mode, t.held, t.lost = lineBuffer{}, modeCommand, nil, 0
	t.awaited, t.lmtp, t.taken = nil, false, 0
}

func (t *Transcript) print(mark, line string) {
	if t.dialog {
		t.printStep(mark, line, mark == "-> " && t.command.bare || mark == "<- " && t.reply.bare)
		return
	}
	io.WriteString(t.w, mark+status.Escape(line, transcriptLine)+"\n") // a transcript that cannot be written stops no mail
}

// aside tells of bytes of the client that are not shown.
func (t *Transcript) aside(what string) {
	if t.dialog {
		t.print("== ", what)
		return
	}
	t.print("-> ", what)
}

func (t *Transcript) note(b []byte, fromClient bool) {
	if len(b) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if fromClient {
		t.fromClient(b)
		return
	}
	for len(b) > 0 {
		line, rest, whole := t.reply.add(b)
		b = rest
		if whole {
			t.print("<- ", line)
			t.answered(line)
		}
	}
}

// fromClient takes bytes of the client by what they are now.
func (t *Transcript) fromClient(b []byte) {
	for len(b) > 0 {
		switch t.mode {
		case modeHold:
			keep := min(len(b), transcriptHeld-len(t.held))
			t.held = append(t.held, b[:keep]...)
			t.lost += int64(len(b) - keep)
			return
		case modeData:
			b = t.data(b)
		case modeChunk:
			b = t.bdat(b)
		default:
			line, rest, whole := t.command.add(b)
			b = rest
			if whole {
				t.commandLine(line)
			}
		}
	}
}

func (t *Transcript) commandLine(line string) {
	if t.mode == modeSecret {
		if line != "*" {
			line = "[redacted]"
		}
		t.print("-> ", line)
		t.await("AUTH", modeHold)
		return
	}
	t.print("-> ", redact(line))
	fields := strings.Fields(line)
	if len(fields) == 0 {
		t.await("", modeCommand)
		return
	}
	verb := strings.ToUpper(fields[0])
	switch verb {
	case "DATA", "AUTH":
		t.await(verb, modeHold)
	case "BDAT":
		t.chunk = 0
		if len(fields) > 1 {
			t.chunk, _ = strconv.ParseInt(fields[1], 10, 64)
		}
		if t.chunk > 0 {
			t.count = 0
			t.mode = modeChunk
			return
		}
		t.await(verb, modeCommand)
	case "LHLO":
		t.lmtp = true
		t.await(verb, modeCommand)
	default:
		t.await(verb, modeCommand)
	}
}

// await notes that verb is to be answered and how the bytes after it are taken until then.
func (t *Transcript) await(verb string, m transcriptMode) {
	if len(t.awaited) < transcriptHeld {
		t.awaited = append(t.awaited, verb)
	}
	t.mode = m
}

// answered follows the session by a reply line. Lines of a reply but the last change nothing.
func (t *Transcript) answered(line string) {
	code, more, _, ok := splitReply(line)
	if !ok || more || len(t.awaited) == 0 {
		return
	}
	verb := t.awaited[0]
	t.awaited = t.awaited[1:]
	switch {
	case verb == "MAIL" || verb == "RSET" || verb == "EHLO" || verb == "LHLO":
		t.taken = 0
	case verb == "RCPT" && code/100 == 2:
		t.taken++
	}
	if t.mode != modeHold || len(t.awaited) > 0 {
		return
	}
	t.mode = modeCommand
	switch {
	case verb == "DATA" && code == 354:
		t.mode, t.count, t.end = modeData, 0, []byte("\r\n")
	case verb == "AUTH" && code == 334:
		t.mode = modeSecret
	}
	held, lost := t.held, t.lost
	t.held, t.lost = nil, 0
	t.fromClient(held)
	if lost > 0 {
		t.aside(fmt.Sprintf("[%d bytes not shown]", lost))
	}
}

// data counts message data up to its end and returns what follows.
func (t *Transcript) data(b []byte) []byte {
	for i, c := range b {
		t.count++
		t.end = append(t.end, c)
		if len(t.end) > 5 {
			t.end = t.end[1:]
		}
		if c == '\n' && bytes.Equal(t.end, []byte("\r\n.\r\n")) {
			t.message(b[:i+1])
			if !t.dialog {
				t.messageEnd("", t.count-3)
				t.print("-> ", ".")
			}
			t.dataEnded()
			return b[i+1:]
		}
	}
	t.message(b)
	return nil
}

// dataEnded awaits the replies to the final dot: one, or one for each recipient (RFC 2033 section 4.2).
func (t *Transcript) dataEnded() {
	t.await(".", modeCommand)
	if t.lmtp {
		for range t.taken - 1 {
			t.await(".", modeCommand)
		}
	}
}

// bdat counts the bytes of a chunk and returns what follows.
func (t *Transcript) bdat(b []byte) []byte {
	n := min(int64(len(b)), t.chunk)
	t.chunk -= n
	t.count += n
	t.message(b[:n])
	if t.chunk == 0 {
		t.messageEnd("", t.count)
		t.await("BDAT", modeCommand)
	}
	return b[n:]
}

// redact hides what follows the mechanism of an AUTH command.
func redact(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 3 || !strings.EqualFold(fields[0], "AUTH") {
		return line
	}
	return fields[0] + " " + fields[1] + " [redacted]"
}

// lineBuffer cuts a stream into lines. Of a long line it keeps the beginning.
type lineBuffer struct {
	b    []byte
	any  bool
	bare bool // the last line ended in LF alone
}

func (l *lineBuffer) started() bool { return l.any }

func (l *lineBuffer) take() string {
	s, crlf := strings.CutSuffix(string(l.b), "\r")
	l.b, l.any, l.bare = l.b[:0], false, !crlf
	return s
}

// add takes bytes up to the next LF. whole says that line is one; rest is what follows it.
func (l *lineBuffer) add(b []byte) (line string, rest []byte, whole bool) {
	part, rest, whole := bytes.Cut(b, []byte("\n"))
	l.any = true
	l.b = append(l.b, part[:min(len(part), transcriptLine-len(l.b))]...)
	if !whole {
		return "", nil, false
	}
	return l.take(), rest, true
}
