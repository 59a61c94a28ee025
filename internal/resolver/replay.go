package resolver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// replay answers from a recording.
type replay struct {
	path     string
	clock    time.Time
	outcomes map[asked]outcome
}

func loadReplay(path string) (*replay, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	defer f.Close()
	r, err := parseReplay(f)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", path, err)
	}
	r.path = path
	return r, nil
}

// exchange answers as it was recorded. What was not is trouble: nobody knows what the answer would have been.
func (r *replay) exchange(_ context.Context, name string, qtype uint16) (reply, error) {
	o, ok := r.outcomes[asked{name, qtype}]
	if !ok {
		return reply{}, &Error{Kind: Unrecorded, Name: name, Type: dns.TypeToString[qtype], Server: r.path}
	}
	return o.result()
}

// parseReplay reads a recording whole.
func parseReplay(in io.Reader) (*replay, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxRecording+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRecording {
		return nil, fmt.Errorf("more than %d bytes", maxRecording)
	}
	p := replayParser{replay: &replay{outcomes: map[asked]outcome{}}}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if n == 1 && line != recordingHead {
			return nil, fmt.Errorf("the first line is not %q", recordingHead)
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if n == 0 {
		return nil, errors.New("it is empty")
	}
	if p.clock.IsZero() {
		return nil, errors.New("it has no clock")
	}
	return p.replay, nil
}

// replayParser is in the middle of a recording.
type replayParser struct {
	*replay
	msg       *dns.Msg // the answer to which records belong; nil before the first and after trouble
	authority bool
}

func (p *replayParser) line(line string) error {
	directive, ok := strings.CutPrefix(line, ";!")
	switch {
	case line == recordingHead:
		return nil
	case ok:
		words, err := wordsOf(directive)
		if err != nil {
			return err
		}
		return p.directive(words)
	case line == "" || line[0] == ';':
		return nil
	}
	return p.record(line)
}

func (p *replayParser) record(line string) error {
	rr, err := readRecord(line)
	switch {
	case err != nil:
		return err
	case p.msg == nil:
		return errors.New("a record that belongs to no answer")
	case p.authority:
		p.msg.Ns = append(p.msg.Ns, rr)
	default:
		p.msg.Answer = append(p.msg.Answer, rr)
	}
	return nil
}

// readRecord reads one record. What master files have besides records is not for one line.
func readRecord(line string) (dns.RR, error) {
	if strings.HasPrefix(line, "$") {
		return nil, fmt.Errorf("%q is not a record", line)
	}
	z := dns.NewZoneParser(strings.NewReader(line+"\n"), ".", "")
	rr, ok := z.Next()
	if err := z.Err(); err != nil {
		return nil, err
	}
	if !ok || rr.Header().Name == "" || rr.Header().Class != dns.ClassINET {
		return nil, fmt.Errorf("%q is not a record of class IN", line)
	}
	wire := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, wire, 0, nil, false)
	if err == nil {
		rr, _, err = dns.UnpackRR(wire[:n], 0)
	}
	if err != nil {
		return nil, fmt.Errorf("record %q: %w", line, err)
	}
	if rr.Header().Rdlength == 0 || nameless(rr) {
		return nil, fmt.Errorf("record %q has no data", line)
	}
	return rr, nil
}

func (p *replayParser) directive(words []string) error {
	if len(words) == 0 {
		return errors.New("a directive has no name")
	}
	what, words := words[0], words[1:]
	switch {
	case what == clockDirective && len(words) == 1:
		t, err := time.Parse(time.RFC3339Nano, words[0])
		if err != nil || t.IsZero() {
			return fmt.Errorf("clock %q is not a time", words[0])
		}
		p.clock = t
		return nil
	case what == "authority" && len(words) == 0 && p.msg != nil:
		p.authority = true
		return nil
	case (what == answerDirective || what == "trouble") && len(words) >= 5 && words[3] == "from":
		return p.outcome(what, words)
	}
	return fmt.Errorf("directive %q is unknown or not complete", what)
}

// outcome begins an answer, or notes trouble: NAME TYPE CODE from SERVER ...
func (p *replayParser) outcome(what string, words []string) error {
	name, err := wireName(words[0])
	if err != nil {
		return fmt.Errorf("name %q: %w", words[0], err)
	}
	types, err := parseTypes(words[1:2])
	if err != nil {
		return err
	}
	server, err := quoted(words[4])
	if err != nil {
		return err
	}
	key := asked{name, types[0]}
	if _, ok := p.outcomes[key]; ok {
		return fmt.Errorf("%s %s is asked twice", name, words[1])
	}
	if len(p.outcomes) >= maxRecorded {
		return fmt.Errorf("more than %d questions", maxRecorded)
	}
	var o outcome
	if what == answerDirective {
		o.reply, err = readAnswer(key, words[2], server, words[5:])
	} else {
		o.err, err = readTrouble(key, words[2], server, words[5:])
	}
	if err != nil {
		return err
	}
	p.msg, p.authority = o.reply.msg, false
	p.outcomes[key] = o
	return nil
}

func readAnswer(key asked, rcode, server string, flags []string) (reply, error) {
	m := question(key.name, key.qtype, false)
	m.Response, m.AuthenticatedData = true, false
	code, ok := dns.StringToRcode[rcode]
	if !ok || code != dns.RcodeSuccess && code != dns.RcodeNameError {
		return reply{}, fmt.Errorf("%q is not the code of an answer", rcode)
	}
	m.Rcode = code
	got := reply{msg: m, server: server}
	for _, flag := range flags {
		switch flag {
		case "trusted":
			got.trusted = true
		case "authentic":
			m.AuthenticatedData = true
		default:
			return reply{}, fmt.Errorf("flag %q is unknown", flag)
		}
	}
	return got, nil
}

func readTrouble(key asked, word, server string, rest []string) (*Error, error) {
	e := &Error{Name: key.name, Type: dns.TypeToString[key.qtype], Server: server}
	for kind, w := range kindWords {
		if w == word {
			e.Kind = kind
		}
	}
	switch {
	case e.Kind == 0:
		return nil, fmt.Errorf("trouble %q is unknown", word)
	case len(rest) == 0:
		return e, nil
	case len(rest) != 2 || rest[0] != "because":
		return nil, errors.New(`trouble ends in: because "REASON"`)
	}
	why, err := quoted(rest[1])
	if err != nil {
		return nil, err
	}
	e.Err = errors.New(why)
	if e.Kind == Timeout {
		e.Err = context.DeadlineExceeded
	}
	return e, nil
}

// wordsOf divides a directive; a word in quotes may hold blanks.
func wordsOf(s string) (words []string, err error) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " \t") {
		if s[0] == '"' {
			word, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, fmt.Errorf("a quote has no end in %q", s)
			}
			words, s = append(words, word), s[len(word):]
			continue
		}
		end := strings.IndexAny(s, " \t")
		if end < 0 {
			end = len(s)
		}
		words, s = append(words, s[:end]), s[end:]
	}
	return words, nil
}
