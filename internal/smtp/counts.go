package smtp

import (
	"bufio"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"pennypost/internal/status"
)

// Counts are what engines have done since they started. The zero value is ready, several engines may share one, and all
// methods are safe for concurrent use; a nil *Counts counts nothing.
type Counts struct {
	sessions, open atomic.Int64
	handling       atomic.Int64
	replies        [maxCode + 1]atomic.Int64
	messages       [len(fates)]atomic.Int64
	octets         [len(fates)]atomic.Int64
	session        histogram
	handler        histogram
}

const maxCode = 599

// fates are what can become of a message, as the log's status has it: 2xx, 4xx, 5xx.
var fates = [...]string{"accepted", "deferred", "refused"}

// begin counts a session; the function it returns is to be called at its end.
func (c *Counts) begin() (end func()) {
	if c == nil {
		return func() {}
	}
	c.sessions.Add(1)
	c.open.Add(1)
	started := time.Now()
	return func() {
		c.open.Add(-1)
		c.session.observe(time.Since(started))
	}
}

// handle counts the run of a handler for a message; the function it returns is to be called at its end, and tells how long
// it took.
func (c *Counts) handle() (end func() time.Duration) {
	if c != nil {
		c.handling.Add(1)
	}
	started := time.Now()
	return func() time.Duration {
		took := time.Since(started)
		if c != nil {
			c.handling.Add(-1)
			c.handler.observe(took)
		}
		return took
	}
}

func (c *Counts) reply(code int) {
	if c != nil && code >= 0 && code <= maxCode {
		c.replies[code].Add(1)
	}
}

// message counts a message of size octets by the error it met.
func (c *Counts) message(err error, size int64) {
	if c == nil {
		return
	}
	fate := 0
	if err != nil {
		if fate = 1; status.Of(err).Class == status.Permanent {
			fate = 2
		}
	}
	c.messages[fate].Add(1)
	c.octets[fate].Add(size)
}

// WriteOpenMetrics writes all counts in the text format of OpenMetrics 1.0, without its end mark: more may follow.
func (c *Counts) WriteOpenMetrics(w io.Writer) error {
	b := bufio.NewWriter(w)
	family(b, "sessions", "counter", "", "Sessions that began.")
	fmt.Fprintf(b, "smtpd_sessions_total %d\n", c.sessions.Load())
	family(b, "sessions_open", "gauge", "", "Sessions that are open now.")
	fmt.Fprintf(b, "smtpd_sessions_open %d\n", c.open.Load())
	family(b, "handlers_open", "gauge", "", "Messages that are being checked, handed on and stored now.")
	fmt.Fprintf(b, "smtpd_handlers_open %d\n", c.handling.Load())
	family(b, "replies", "counter", "", "Replies by their code.")
	for code := range c.replies {
		if n := c.replies[code].Load(); n > 0 {
			fmt.Fprintf(b, "smtpd_replies_total{code=\"%03d\"} %d\n", code, n)
		}
	}
	family(b, "messages", "counter", "", "Messages by what became of them.")
	for i, fate := range fates {
		fmt.Fprintf(b, "smtpd_messages_total{fate=%q} %d\n", fate, c.messages[i].Load())
	}
	family(b, "message_bytes", "counter", "bytes", "Bytes of messages by what became of them.")
	for i, fate := range fates {
		fmt.Fprintf(b, "smtpd_message_bytes_total{fate=%q} %d\n", fate, c.octets[i].Load())
	}
	family(b, "session_seconds", "histogram", "seconds", "How long sessions lasted.")
	c.session.write(b, "session_seconds")
	family(b, "handler_seconds", "histogram", "seconds", "How long it took to check, hand on and store a message.")
	c.handler.write(b, "handler_seconds")
	return b.Flush()
}

// family writes the lines above the samples of a name.
func family(w io.Writer, name, kind, unit, help string) {
	fmt.Fprintf(w, "# TYPE smtpd_%s %s\n", name, kind)
	if unit != "" {
		fmt.Fprintf(w, "# UNIT smtpd_%s %s\n", name, unit)
	}
	fmt.Fprintf(w, "# HELP smtpd_%s %s\n", name, help)
}

// bounds are the upper ends of the buckets of a histogram, in seconds; one without end follows.
var bounds = [...]float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 3600}

// histogram counts times.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Int64
	total   atomic.Int64 // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d.Seconds() > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.total.Add(int64(d))
}

// write writes the samples; each bucket holds those before it.
func (h *histogram) write(w io.Writer, name string) {
	total := time.Duration(h.total.Load())
	n := int64(0)
	for i := range h.buckets {
		n += h.buckets[i].Load()
		end := "+Inf"
		if i < len(bounds) {
			end = fmt.Sprint(bounds[i])
			if bounds[i] == float64(int(bounds[i])) {
				end += ".0"
			}
		}
		fmt.Fprintf(w, "smtpd_%s_bucket{le=%q} %d\n", name, end, n)
	}
	fmt.Fprintf(w, "smtpd_%s_count %d\nsmtpd_%s_sum %g\n", name, n, name, total.Seconds())
}
