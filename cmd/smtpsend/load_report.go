package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pennypost/internal/cli"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// loadCount is what became of a load.
type loadCount struct {
	mu             sync.Mutex
	took, connects []time.Duration
	taken, refused int // messages: taken for all recipients, or not
	octets         int64
	replies        map[string]int // code and enhanced code of the last word on each recipient
	first          *status.Error  // of those that were not taken
	wall           time.Duration
}

func (c *loadCount) counts() (taken, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken, c.refused
}

func (c *loadCount) connected(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connects = append(c.connects, took)
}

// failed counts a message for which there was no connection.
func (c *loadCount) failed(err *status.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse(err)
}

func (c *loadCount) refuse(err *status.Error) {
	c.refused++
	c.reply(fmt.Sprintf("%d %s", err.Code, err.Enhanced))
	if c.first == nil {
		c.first = err
	}
}

func (c *loadCount) reply(code string) {
	if c.replies == nil {
		c.replies = make(map[string]int)
	}
	c.replies[code]++
}

// sent counts a message that was sent.
func (c *loadCount) sent(size int64, took time.Duration, out []smtp.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range out {
		if o.Err != nil {
			c.refuse(o.Err)
			return
		}
	}
	for _, o := range out {
		c.reply(fmt.Sprint(o.Reply.Code))
	}
	c.taken++
	c.octets += size
	c.took = append(c.took, took)
}

// loadResult is what is printed, times in seconds.
type loadResult struct {
	Messages  int            `json:"messages"`
	Taken     int            `json:"taken"`
	Octets    int64          `json:"octets"`
	Seconds   float64        `json:"seconds"`
	Rate      float64        `json:"messages_per_second"`
	Sessions  int            `json:"sessions"`
	Connect   loadTimes      `json:"connect"`
	Message   loadTimes      `json:"message"`
	Histogram []loadBar      `json:"histogram"`
	Replies   map[string]int `json:"replies"`
}

// loadTimes are the least, some percentiles and the most of some times.
type loadTimes struct {
	Least float64 `json:"min"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Most  float64 `json:"max"`
}

// loadBar counts the messages that took less than Below, and not less than that of the bar before.
type loadBar struct {
	Below float64 `json:"below"`
	Count int     `json:"count"`
}

// times sorts all.
func times(all []time.Duration) (t loadTimes) {
	if len(all) == 0 {
		return t
	}
	slices.Sort(all)
	at := func(p float64) float64 { return all[min(len(all)-1, int(p*float64(len(all))))].Seconds() }
	return loadTimes{all[0].Seconds(), at(0.5), at(0.9), at(0.99), all[len(all)-1].Seconds()}
}

// histogram counts sorted times in bars of 1, 2 and 5 of each power of ten, from the first that is not empty to the last.
func histogram(sorted []time.Duration) (bars []loadBar) {
	step, i := 0, 0
	for below := 100 * time.Microsecond; i < len(sorted); step++ {
		n, _ := slices.BinarySearch(sorted[i:], below)
		if n > 0 || len(bars) > 0 {
			bars = append(bars, loadBar{below.Seconds(), n})
		}
		i += n
		if step%3 == 1 {
			below = below * 5 / 2
		} else {
			below *= 2
		}
	}
	return bars
}

func (c *loadCount) result() loadResult {
	r := loadResult{Messages: c.taken + c.refused, Taken: c.taken, Octets: c.octets, Seconds: c.wall.Seconds(),
		Rate: float64(c.taken) / max(c.wall.Seconds(), 1e-9), Sessions: len(c.connects), Connect: times(c.connects), Message: times(c.took),
		Replies: c.replies}
	r.Histogram = histogram(c.took)
	return r
}

// report prints the result. It is an error when not all messages were taken.
func (c *loadCount) report(w io.Writer, asJSON bool) (err error) {
	if c.first != nil && errors.Is(c.first, errNotMine) {
		return cli.Usagef("%w", errors.Unwrap(c.first))
	}
	r := c.result()
	if asJSON {
		err = json.NewEncoder(w).Encode(r)
	} else {
		err = r.print(w)
	}
	if err == nil && c.first != nil {
		e := *c.first
		e.Text, e.Err = fmt.Sprintf("%d of %d messages were not taken, the first: %s", c.refused, r.Messages, e.Text), c.first
		return &e
	}
	return err
}

func (r *loadResult) print(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "%d messages taken of %d, %d octets, in %s: %.1f a second\n", r.Taken, r.Messages, r.Octets, seconds(r.Seconds), r.Rate)
	fmt.Fprintf(w, "%d sessions\n", r.Sessions)
	for _, t := range []struct {
		what string
		loadTimes
	}{{"to connect", r.Connect}, {"a message", r.Message}} {
		fmt.Fprintf(w, "%-10s  least %s  half %s  90%% %s  99%% %s  most %s\n", t.what, seconds(t.Least), seconds(t.P50), seconds(t.P90),
			seconds(t.P99), seconds(t.Most))
	}
	most := 1
	for _, b := range r.Histogram {
		most = max(most, b.Count)
	}
	for _, b := range r.Histogram {
		fmt.Fprintf(w, "  < %-6s %8d %s\n", seconds(b.Below), b.Count, strings.Repeat("#", (b.Count*50+most-1)/most))
	}
	for _, code := range slices.Sorted(maps.Keys(r.Replies)) {
		fmt.Fprintf(w, "%8d x %s\n", r.Replies[code], code)
	}
	return w.Flush()
}

// seconds is a time for people, with three digits that count.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= 100*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
