package resolver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A recording is a text that stands in for the DNS of one run: what was asked, what came back, and the clock.
//
//	;! recording 1
//	;! clock 2026-11-24T12:00:00Z
//	;! answer example.org. TXT NOERROR from "127.0.0.1:53" trusted authentic
//	example.org.	300	IN	TXT	"v=spf1 -all"
//	;! answer x.example.org. A NXDOMAIN from "127.0.0.1:53"
//	;! authority
//	example.org.	300	IN	SOA	...
//	;! trouble y.example.org. A timeout from "127.0.0.1:53" because "context deadline exceeded"
//
// Below an answer stand its records in the form of a master file, one a line, and below "authority" what makes a denial
// last. "trusted" says that the word of the server on DNSSEC counts here, "authentic" that it gave it. Lines that begin
// with ";" alone, and empty ones, are for readers.
//
// A question is asked once: what came first is the answer for the whole run. So the same questions get the same answers
// when the recording is played, however often and in whatever order they are asked.

const (
	recordingHead   = ";! recording 1"
	maxRecording    = 32 << 20 // bytes
	maxRecorded     = 100_000  // questions
	clockDirective  = "clock"
	answerDirective = "answer"
)

// asked is a question.
type asked = cacheKey

// outcome is what came of a question: a reply or an *Error.
type outcome struct {
	reply reply
	err   *Error
}

func (o outcome) result() (reply, error) {
	if o.err != nil {
		e := *o.err // the asker puts in the name it asked for
		return reply{}, &e
	}
	return o.reply, nil
}

// recorder asks another source and writes down what it says.
type recorder struct {
	source source
	clock  time.Time

	mu   sync.Mutex
	file *os.File
	seen map[asked]outcome
}

// newRecorder begins a recording; a file of that name is written over. It stays open as long as the program runs, and
// each answer is in it before it is used.
func newRecorder(s source, path string, clock time.Time) (*recorder, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("record DNS: %w", err)
	}
	if _, err := fmt.Fprintf(f, "%s\n;! %s %s\n", recordingHead, clockDirective, clock.UTC().Format(time.RFC3339Nano)); err != nil {
		return nil, errors.Join(fmt.Errorf("record DNS: %w", err), f.Close())
	}
	return &recorder{source: s, clock: clock, file: f, seen: map[asked]outcome{}}, nil
}

func (r *recorder) exchange(ctx context.Context, name string, qtype uint16) (reply, error) {
	key := asked{name, qtype}
	r.mu.Lock()
	o, ok := r.seen[key]
	r.mu.Unlock()
	if ok {
		return o.result()
	}
	o.reply, o.err = split(r.source.exchange(ctx, name, qtype))
	r.mu.Lock()
	defer r.mu.Unlock()
	if first, ok := r.seen[key]; ok {
		return first.result()
	}
	if err := r.write(key, &o); err != nil {
		return reply{}, &Error{Kind: Unrecorded, Name: name, Type: dns.TypeToString[qtype], Err: err}
	}
	r.seen[key] = o
	return o.result()
}

func split(got reply, err error) (reply, *Error) {
	if err == nil {
		return got, nil
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: Network, Err: err}
	}
	return got, e
}

// write appends an outcome and makes of it what a reader will find, so that this run and a later one see the same.
func (r *recorder) write(key asked, o *outcome) error {
	if len(r.seen) >= maxRecorded {
		return fmt.Errorf("more than %d questions", maxRecorded)
	}
	var b bytes.Buffer
	if err := o.print(&b, key); err != nil {
		return err
	}
	p := replayParser{replay: &replay{outcomes: map[asked]outcome{}}}
	for line := range strings.Lines(b.String()) {
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
	*o = p.outcomes[key]
	_, err := r.file.Write(b.Bytes())
	return err
}

// print writes an outcome as lines.
func (o *outcome) print(b *bytes.Buffer, key asked) error {
	name := strings.ReplaceAll(key.name, `\ `, `\032`) // words end at spaces
	if o.err != nil {
		fmt.Fprintf(b, ";! trouble %s %s %s from %q", name, dns.TypeToString[key.qtype], kindWords[o.err.Kind], o.err.Server)
		if o.err.Err != nil {
			fmt.Fprintf(b, " because %q", o.err.Err.Error())
		}
		b.WriteByte('\n')
		return nil
	}
	m := o.reply.msg
	fmt.Fprintf(b, ";! %s %s %s %s from %q", answerDirective, name, dns.TypeToString[key.qtype],
		dns.RcodeToString[m.Rcode], o.reply.server)
	if o.reply.trusted {
		b.WriteString(" trusted")
	}
	if m.AuthenticatedData {
		b.WriteString(" authentic")
	}
	b.WriteByte('\n')
	for _, rr := range m.Answer {
		if t := rr.Header().Rrtype; t != key.qtype && t != dns.TypeCNAME {
			continue // nobody looks at it
		}
		if err := printRecord(b, rr); err != nil {
			return err
		}
	}
	soa := startOfAuthority(m)
	if soa == nil {
		return nil
	}
	var last bytes.Buffer
	if err := printRecord(&last, soa); err != nil || last.Len() == 0 {
		return err
	}
	fmt.Fprintf(b, ";! authority\n%s", last.Bytes())
	return nil
}

// printRecord writes a record so that readRecord makes the same of it, in the form of RFC 3597 where its own does not
// do. A record without data, which cannot be written, is left out: it says nothing.
func printRecord(b *bytes.Buffer, rr dns.RR) error {
	wire := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return fmt.Errorf("record of %q: %w", rr.Header().Name, err)
	}
	for _, line := range []string{rr.String(), generic(rr, wire[:n])} {
		if strings.ContainsAny(line, "\r\n") {
			continue
		}
		back, err := readRecord(line)
		if err != nil {
			continue
		}
		again := make([]byte, dns.MaxMsgSize)
		if m, err := dns.PackRR(back, again, 0, nil, false); err == nil && bytes.Equal(wire[:n], again[:m]) {
			b.WriteString(line)
			b.WriteByte('\n')
			return nil
		}
	}
	return nil
}

// generic is a record in the form of RFC 3597 section 5; wire is the whole record.
func generic(rr dns.RR, wire []byte) string {
	h := rr.Header()
	owner := make([]byte, 256)
	n, err := dns.PackDomainName(h.Name, owner, 0, nil, false)
	if err != nil || n+10 > len(wire) {
		return ""
	}
	data := wire[n+10:]
	return fmt.Sprintf("%s\t%d\tIN\tTYPE%d\t\\# %d %x", h.Name, h.Ttl, h.Rrtype, len(data), data)
}

// kindWords are how trouble is written.
var kindWords = map[Kind]string{
	ServFail:   "servfail",
	Timeout:    "timeout",
	Refused:    "refused",
	Network:    "unreachable",
	Malformed:  "malformed",
	Unrecorded: "unrecorded",
}

func quoted(word string) (string, error) {
	s, err := strconv.Unquote(word)
	if err != nil || !strings.HasPrefix(word, `"`) {
		return "", fmt.Errorf("%q is not in quotes", word)
	}
	return s, nil
}
