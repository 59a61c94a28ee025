package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// State is what is known of a recipient.
type State string

// The states. Failed is told of, where somebody is to be told, and then Reported.
const (
	Waiting   State = "waiting"   // to be tried at Next
	Delivered State = "delivered" // taken by a server
	Failed    State = "failed"    // will never be taken
	Reported  State = "reported"  // failed, and whoever is to be told has been told
	Dropped   State = "dropped"   // removed by hand
)

var states = []State{Waiting, Delivered, Failed, Reported, Dropped}

// Open tells whether something is still to be done for the recipient.
func (s State) Open() bool { return s == Waiting || s == Failed }

// Recipient is one recipient and what became of him.
type Recipient struct {
	Address  envelope.Address
	Notify   string // NOTIFY of RFC 3461, "" = not given
	ORcpt    string // ORCPT of RFC 3461, "" = not given
	State    State
	Attempts int
	Next     time.Time // when to try again, or to tell of a failure
	Last     time.Time // of the last attempt; zero = none
	Host     string    // of the last attempt
	Reply    string    // its last word, or why there is none: "450 4.2.0 try later"
	Warned   bool      // the sender was told of the delay
}

// Entry is a message in the queue, as it stood when it was read.
type Entry struct {
	ID         ID
	Arrived    time.Time
	Envelope   *envelope.Envelope
	Recipients []Recipient
	Size       int64 // bytes of the message
	Held       bool
}

// Due is when something is to be done next; ok is false for nothing: held, or all is done.
func (e *Entry) Due() (due time.Time, ok bool) {
	for _, r := range e.Recipients {
		if r.State.Open() && !e.Held && (!ok || r.Next.Before(due)) {
			due, ok = r.Next, true
		}
	}
	return due, ok
}

// Done tells whether nothing is left to do for anybody.
func (e *Entry) Done() bool {
	for _, r := range e.Recipients {
		if r.State.Open() {
			return false
		}
	}
	return true
}

// maxEnvelope bounds an envelope file in bytes: the variables of mailpipe(7) have their own limits, and records are
// written together when they become many.
const (
	maxEnvelope = 64 << 20
	form        = "pennypost-queue 1"
	endOfHead   = "records"
)

// timeForm is for people and sorts.
const timeForm = "2006-01-02T15:04:05.000000Z"

// escaper keeps a value on its line and in its field.
var escaper = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
var unescaper = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r", `\0`, "\x00")

// header is what an envelope file starts with: the form, when the message came, its size in bytes, and the envelope as
// variables of mailpipe(7).
func header(e *envelope.Envelope, now, due time.Time, size int64) (string, error) {
	vars, err := e.Environ(nil)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\narrived %s\ndue %s\nsize %d\n", form, now.UTC().Format(timeForm), due.UTC().Format(timeForm), size)
	for _, kv := range vars {
		if !strings.HasPrefix(kv, "RECIPIENT=") {
			b.WriteString(escaper.Replace(kv) + "\n")
		}
	}
	b.WriteString(endOfHead + "\n")
	if b.Len() > maxEnvelope/2 {
		return "", status.Errorf(status.Data, "queue: an envelope of %d bytes", b.Len())
	}
	return b.String(), nil
}

var errDamaged = errors.New("damaged")

// parse reads an envelope file. One without the size of the message has -1.
func parse(id ID, text string) (*Entry, error) {
	rest := text[:strings.LastIndexByte(text, '\n')+1] // a torn record is none
	next := func() (line string) {
		line, rest, _ = strings.Cut(rest, "\n")
		return line
	}
	if next() != form {
		return nil, fmt.Errorf("%w: it does not start with %q", errDamaged, form)
	}
	e := &Entry{ID: id, Size: -1}
	var due time.Time
	var err error
	if e.Arrived, err = parseTime(next(), "arrived "); err == nil {
		due, err = parseTime(next(), "due ")
	}
	if err != nil {
		return nil, err
	}
	if number, ok := strings.CutPrefix(rest, "size "); ok {
		number, rest, _ = strings.Cut(number, "\n")
		if e.Size, err = strconv.ParseInt(number, 10, 64); err != nil || e.Size < 0 {
			return nil, fmt.Errorf("%w: size %q", errDamaged, status.Escape(number, 40))
		}
	}
	vars := make([]string, 0, 16)
	for rest != "" && !strings.HasPrefix(rest, endOfHead+"\n") {
		vars = append(vars, unescape(next()))
	}
	if next() != endOfHead {
		return nil, fmt.Errorf("%w: its head has no end", errDamaged)
	}
	if e.Envelope, err = envelope.FromEnviron(vars); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := e.setRecipients(due); err != nil {
		return nil, err
	}
	for n := 1; rest != ""; n++ {
		if err := e.apply(next()); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", errDamaged, n, err)
		}
	}
	return e, nil
}

func (e *Entry) setRecipients(due time.Time) error {
	if len(e.Envelope.Recipients) == 0 {
		return fmt.Errorf("%w: no recipient", errDamaged)
	}
	e.Recipients = make([]Recipient, 0, len(e.Envelope.Recipients))
	for i, a := range e.Envelope.Recipients {
		r := Recipient{Address: a, State: Waiting, Next: due}
		if i < len(e.Envelope.Notify) {
			r.Notify = e.Envelope.Notify[i]
		}
		if i < len(e.Envelope.ORcpt) {
			r.ORcpt = e.Envelope.ORcpt[i]
		}
		e.Recipients = append(e.Recipients, r)
	}
	return nil
}

func parseTime(line, prefix string) (time.Time, error) {
	text, ok := strings.CutPrefix(line, prefix)
	t, err := readTime(text)
	if !ok || err != nil {
		return t, fmt.Errorf("%w: %q is not %stime", errDamaged, status.Escape(line, 60), prefix)
	}
	return t, nil
}

// readTime reads timeForm, in the way of RFC 3339 that package time is quick at.
func readTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.UTC(), err
}

// unescape undoes escaper.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return unescaper.Replace(s)
}

// record is a recipient's line: number, state, attempts, next and last time, warned, host, reply, separated by tabs.
func record(n int, r Recipient) string {
	last, warned := "-", "-"
	if !r.Last.IsZero() {
		last = r.Last.UTC().Format(timeForm)
	}
	if r.Warned {
		warned = "warned"
	}
	f := []string{"rcpt " + strconv.Itoa(n), string(r.State), strconv.Itoa(r.Attempts), r.Next.UTC().Format(timeForm), last, warned,
		escaper.Replace(r.Host), escaper.Replace(r.Reply)}
	return strings.Join(f, "\t") + "\n"
}

// apply is what a record changes.
func (e *Entry) apply(line string) error {
	switch line {
	case "hold":
		e.Held = true
		return nil
	case "release":
		e.Held = false
		return nil
	}
	var f [8]string
	rest, more := line, true
	for i := 0; i < len(f) && more; i++ {
		f[i], rest, more = strings.Cut(rest, "\t")
	}
	number, ok := strings.CutPrefix(f[0], "rcpt ")
	n, err := strconv.Atoi(number)
	if !ok || more || err != nil || n < 0 || n >= len(e.Recipients) || strings.Count(line, "\t") != len(f)-1 {
		return fmt.Errorf("%q", status.Escape(line, 80))
	}
	r := &e.Recipients[n]
	state := State(f[1])
	attempts, err := strconv.Atoi(f[2])
	if err != nil || !known(state) {
		return fmt.Errorf("%q", status.Escape(line, 80))
	}
	next, err := readTime(f[3])
	if err != nil {
		return err
	}
	var last time.Time
	if f[4] != "-" {
		if last, err = readTime(f[4]); err != nil {
			return err
		}
	}
	r.State, r.Attempts, r.Next, r.Last, r.Warned = state, attempts, next, last, f[5] == "warned"
	r.Host, r.Reply = unescape(f[6]), unescape(f[7])
	return nil
}

func known(s State) bool {
	for _, k := range states {
		if s == k {
			return true
		}
	}
	return false
}
