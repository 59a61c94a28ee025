package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"pennypost/internal/status"
)

const (
	// maxReplyLine is what ReadReply takes as one line, without its end. RFC 5321 section 4.5.3.1.5
	// allows 512 bytes; real servers are more talkative.
	maxReplyLine = 2048
	// maxReplyLines is how many lines one reply may have.
	maxReplyLines = 256
	// replyLine is the length of a line that WriteTo keeps to, with its CRLF (RFC 5321 section 4.5.3.1.5).
	replyLine = 512
)

var errLongReply = fmt.Errorf("line over %d bytes", maxReplyLine)

// Reply is an answer of a server: a three-digit code, an enhanced status code ("2.1.5", or empty) and the text,
// one element a line, without code, enhanced code and line end.
type Reply struct {
	Code     int
	Enhanced string
	Lines    []string
}

// Positive says whether the server did what it was asked (2xx).
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Permanent says whether the server said never (5xx).
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// Text is the text of all lines, joined by a blank.
func (r Reply) Text() string { return strings.TrimSpace(strings.Join(r.Lines, " ")) }

// String is the reply as one line: "550 5.1.1 no such user". Bytes of the peer are in it as they came: escape it
// before showing it.
func (r Reply) String() string {
	s := fmt.Sprintf("%03d", r.Code)
	if r.Enhanced != "" {
		s += " " + r.Enhanced
	}
	if t := r.Text(); t != "" {
		s += " " + t
	}
	return s
}

// Err is nil for 2xx and 3xx, else the reply as a status: 4xx temporary, 5xx permanent, with code, enhanced
// code and text kept.
func (r Reply) Err() *status.Error {
	switch r.Code / 100 {
	case 2, 3:
		return nil
	case 5:
		return status.Errorf(status.HardFail, "%s", r.Text()).WithReply(r.Code, r.Enhanced)
	}
	return status.Errorf(status.TempFail, "%s", r.Text()).WithReply(r.Code, r.Enhanced)
}

// WriteTo writes the reply as RFC 5321 section 4.2.1 wants it, in one Write: each line with the code, with the
// enhanced code when there is one (RFC 2034 section 3: on every line), escaped to be printable, cut to 512 bytes,
// ended by CRLF.
func (r Reply) WriteTo(w io.Writer) (int64, error) {
	lines := r.Lines
	if len(lines) == 0 {
		lines = []string{""}
	}
	var b strings.Builder
	for i, l := range lines {
		sep := byte('-')
		if i == len(lines)-1 {
			sep = ' '
		}
		start := fmt.Sprintf("%03d%c", r.Code, sep)
		if r.Enhanced != "" {
			start += r.Enhanced + " "
		}
		b.WriteString(start)
		b.WriteString(clip(status.Escape(l, replyLine), replyLine-2-len(start)))
		b.WriteString("\r\n")
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// clip cuts s to at most max bytes, not inside a character.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// ReadReply reads one reply. It takes lines that end in a bare LF and lines that are only a code, as servers send
// them; it refuses what is not a reply, a code that changes between lines, lines over 2048 bytes and replies over
// 256 lines. The enhanced code is that of the first line, when its class agrees with the code (RFC 2034 section 4),
// and is taken off each line that has it. Every error is a *status.Error and temporary; at the end of input
// errors.Is(err, io.EOF), or io.ErrUnexpectedEOF inside a reply.
func ReadReply(r *bufio.Reader) (Reply, error) {
	var rep Reply
	for {
		line, err := readLine(r)
		if err != nil {
			if errors.Is(err, io.EOF) && len(rep.Lines) > 0 {
				err = io.ErrUnexpectedEOF
			}
			if errors.Is(err, errLongReply) {
				return Reply{}, status.Errorf(status.Protocol, "read reply: %w", err)
			}
			return Reply{}, status.Errorf(status.TempFail, "read reply: %w", err).WithReply(451, "4.4.2")
		}
		code, more, text, ok := splitReply(line)
		if !ok {
			return Reply{}, status.Errorf(status.Protocol, "read reply: %q is not a reply", clip(line, 80))
		}
		if rep.Code != 0 && rep.Code != code {
			return Reply{}, status.Errorf(status.Protocol, "read reply: code %d follows %d in one reply", code, rep.Code)
		}
		rep.Code = code
		rep.Lines = append(rep.Lines, text)
		if !more {
			break
		}
		if len(rep.Lines) == maxReplyLines {
			return Reply{}, status.Errorf(status.Protocol, "read reply: more than %d lines", maxReplyLines)
		}
	}
	rep.takeEnhanced()
	return rep, nil
}

// readLine reads up to LF and returns the line without its end (CRLF or LF).
func readLine(r *bufio.Reader) (string, error) {
	var b []byte
	for {
		part, err := r.ReadSlice('\n')
		b = append(b, part...)
		if err == nil {
			s := strings.TrimSuffix(string(b[:len(b)-1]), "\r")
			if len(s) > maxReplyLine {
				return "", errLongReply
			}
			return s, nil
		}
		if err == io.EOF && len(b) > 0 {
			return "", io.ErrUnexpectedEOF
		}
		if err != bufio.ErrBufferFull {
			return "", err
		}
		if len(b) > maxReplyLine {
			return "", errLongReply
		}
	}
}

// splitReply takes "250-text", "250 text" or "250" apart.
func splitReply(line string) (code int, more bool, text string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", false
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	return code, line[3] == '-', line[4:], true
}

// takeEnhanced moves the enhanced code from the lines to r.Enhanced.
func (r *Reply) takeEnhanced() {
	first, _, _ := strings.Cut(r.Lines[0], " ")
	if !isEnhanced(first, r.Code) {
		return
	}
	r.Enhanced = first
	for i, l := range r.Lines {
		if word, rest, _ := strings.Cut(l, " "); word == first {
			r.Lines[i] = rest
		}
	}
}

// isEnhanced says whether s is a status code of RFC 3463 section 2 whose class is that of the reply code.
func isEnhanced(s string, code int) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || int(parts[0][0]-'0') != code/100 || code/100 == 3 {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) < 1 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
