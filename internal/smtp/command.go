package smtp

import (
	"bufio"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of lines from the client, with their CRLF. RFC 5321 section 4.5.3.1.4 sets 512 and lets extensions add to MAIL and
// RCPT (RFC 1870, 3461, 4954, 6152, 6531); RFC 4954 section 4 sets 12288 for AUTH.
const (
	maxCommand    = 512
	maxParameters = 512 + 2048
	maxAuthLine   = 12288
)

// tlsHello is the first byte of a client that begins with TLS.
const tlsHello = 0x16

// atHand is how long it may take to read what is there already: of TLS perhaps only the beginning of a record is.
const atHand = 100 * time.Millisecond

var (
	errLongLine = errors.New("line too long")
	errBareLF   = errors.New("bare LF")
	errTLSHello = errors.New("TLS hello in clear")
)

// readCommand returns one command line without its end. errLongLine means that a line was read whole and dropped.
func (s *session) readCommand() (string, error) {
	first, err := s.in.Peek(1)
	if err != nil {
		return "", err
	}
	if first[0] == tlsHello && !s.secure {
		return "", errTLSHello
	}
	return s.readLine()
}

// readLine returns a line of at most maxAuthLine bytes without its CRLF. Only CRLF ends a line (RFC 5321 section 2.3.8), but
// for a local client LF does too.
func (s *session) readLine() (string, error) {
	line, err := s.in.ReadSlice('\n')
	long, cr := false, false
	for errors.Is(err, bufio.ErrBufferFull) {
		long, cr = true, line[len(line)-1] == '\r'
		line, err = s.in.ReadSlice('\n')
	}
	if err != nil {
		return "", err
	}
	text, ended := strings.CutSuffix(string(line[:len(line)-1]), "\r")
	switch {
	case !ended && !(len(line) == 1 && cr) && !s.local:
		return "", errBareLF
	case long || len(line) > maxAuthLine:
		return "", errLongLine
	}
	return text, nil
}

// execute finds the verb of a command line and runs it. A reply with Code 0 means that the verb has replied itself.
func (s *session) execute(line string) Reply {
	name, arg, _ := strings.Cut(line, " ")
	name = strings.ToUpper(name)
	if isHTTP[name] && !s.local {
		s.closing = true
		return Reply{554, "5.5.0", []string{"Error: I speak SMTP, not HTTP"}}
	}
	v := verbs[name]
	limit := maxCommand
	if v != nil && v.limit != 0 {
		limit = v.limit
	}
	switch {
	case len(line)+2 > limit:
		return Reply{500, "5.5.2", []string{"Error: line too long"}}
	case strings.ContainsFunc(line, isControl) || !utf8.ValidString(line):
		return Reply{500, "5.5.2", []string{"Error: control characters or invalid UTF-8 in a command"}}
	case v == nil || !s.offers(v):
		return Reply{500, "5.5.2", []string{"Error: command not recognized"}}
	case v.alone && s.pipelined():
		s.closing = true
		return Reply{554, "5.5.0", []string{"Error: nothing may follow " + name + " before its reply (RFC 2920)"}}
	case v.in&s.state == 0:
		return s.outOfOrder(name)
	}
	if !v.mail {
		s.junk++
	}
	return v.run(s, strings.Trim(arg, " "))
}

// isHTTP has the methods that a browser sends to a port that is not its own (the ALPACA attack).
var isHTTP = map[string]bool{"GET": true, "POST": true, "PUT": true, "HEAD": true, "CONNECT": true, "OPTIONS": true, "DELETE": true, "PATCH": true, "TRACE": true}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// pipelined says that more has come than RFC 2920 section 3.1 lets come, in whatever packets. With TLS some of it may be read
// already and not deciphered, and what waits may be no more than a part of its own talk, so the next record is taken, if it is there.
func (s *session) pipelined() bool {
	switch {
	case s.local:
		return false
	case s.in.Buffered() > 0:
		return true
	case s.facts.TLS == nil:
		return s.waiting()
	}
	defer func(d time.Time) { s.deadline = d }(s.deadline)
	s.deadline = time.Now()
	if s.waiting() {
		s.deadline = s.deadline.Add(atHand)
	}
	_, err := s.in.Peek(1)
	return err == nil
}

// waiting says that bytes are there which were not read, where the connection can say that.
func (s *session) waiting() bool {
	c, ok := s.raw.(interface{ Waiting() bool })
	return ok && c.Waiting()
}

// outOfOrder is the reply to a command that is known but not to be said now (RFC 5321 section 4.1.4).
func (s *session) outOfOrder(name string) Reply {
	text := "Error: " + name + " is not possible now"
	switch {
	case s.state == connected && s.srv.Service == LMTP:
		text = "Error: send LHLO first"
	case s.state == connected:
		text = "Error: send HELO/EHLO first"
	case s.state == chunking:
		text = "Error: a message is coming by BDAT"
	case name == "MAIL":
		text = "Error: nested MAIL command"
	case s.state == greeted && (name == "RCPT" || name == "DATA" || name == "BDAT"):
		text = "Error: need MAIL command"
	case s.state == sending && s.refused > 0 && s.srv.Service == LMTP:
		text = "Error: no valid recipients" // RFC 2033 section 4.2 wants 503
	case s.state == sending && s.refused > 0:
		return Reply{554, "5.5.1", []string{"Error: no valid recipients"}}
	case s.state == sending && (name == "DATA" || name == "BDAT"):
		text = "Error: need RCPT command"
	case s.state >= sending:
		text = "Error: " + name + " is not possible inside a transaction"
	}
	return Reply{503, "5.5.1", []string{text}}
}

// offers says whether a verb belongs to this session.
func (s *session) offers(v *verb) bool { return v.when == nil || v.when(s) }

// needEHLO is the reply to commands of extensions after HELO.
func needEHLO() Reply {
	return Reply{503, "5.5.1", []string{"Error: send EHLO first"}}
}

func syntax(usage string) Reply {
	return Reply{501, "5.5.4", []string{"Syntax: " + usage}}
}
