package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// work is one entry that this process has.
type work struct {
	r      *Runner
	l      *queue.Locked
	now    time.Time
	counts Counts
	warn   map[int]bool    // recipients whose sender is to hear of the delay
	taken  map[int]Outcome // recipients that were taken just now
	// crowded is a host for which others wait, so that the entry is to be worked on once more when they are fewer.
	crowded string
}

// run gives up what is too old, sends what is due, tells the sender, and removes what is done with.
func (w *work) run(ctx context.Context) error {
	if w.l.Held {
		return nil
	}
	w.counts.Messages = 1
	w.warn, w.taken = make(map[int]bool), make(map[int]Outcome)
	if err := w.expire(); err != nil {
		return err
	}
	m, err := w.l.Message()
	if err != nil {
		return err
	}
	defer m.Close()
	if todo := w.due(); len(todo) > 0 {
		if err := w.send(ctx, m, todo); err != nil {
			return err
		}
	}
	if err := w.tell(ctx, m); err != nil {
		return err
	}
	if w.l.Done() {
		return w.l.Remove()
	}
	return nil
}

// due are the recipients to be tried now.
func (w *work) due() (todo []int) {
	for i, r := range w.l.Recipients {
		now := !r.Next.After(w.now) || w.r.Early && r.Attempts > 0
		if r.State == queue.Waiting && now && (w.r.Only == nil || w.r.Only(&w.l.Entry, r.Address)) {
			todo = append(todo, i)
		}
	}
	return todo
}

// expire fails recipients whose time is over: that of the queue, or of DELIVERBY with R (RFC 2852 section 4.1.4.2).
func (w *work) expire() error {
	end := w.l.Arrived.Add(w.r.Retry.GiveUp)
	why, insists := "not delivered within "+w.r.Retry.GiveUp.String(), false
	if by, mode, ok := deliverBy(w.l.Envelope, w.l.Arrived); ok && mode == 'R' && by.Before(end) {
		end, why, insists = by, "not delivered by the time that the sender set", true
	}
	if w.now.Before(end) {
		return nil
	}
	changed := make(map[int]queue.Recipient)
	for i, r := range w.l.Recipients {
		// One that was never tried, as when no run was made for long, gets its attempt first.
		if r.State != queue.Waiting || r.Attempts == 0 && !insists {
			continue
		}
		last := ""
		if r.Reply != "" {
			last = "; the last attempt: " + strings.Trim(r.Reply, "()")
		}
		r.Reply = "(554 5.4.7 " + why + last + ")"
		r.State, r.Next = queue.Failed, w.now
		changed[i] = r
		w.log(r, "failed", 0)
	}
	w.counts.Failed += len(changed)
	if len(changed) == 0 {
		return nil
	}
	return w.l.Record(changed)
}

// send gives the message to the relay and records each destination's answers as they come.
func (w *work) send(ctx context.Context, m *message.Message, todo []int) error {
	e := w.l.Envelope.For(todo...)
	if e.Body == smtp.BinaryMIME { // it came so; what is in a queue is lines
		e.Body = "8BITMIME"
	}
	e.HoldFor, e.HoldUntil = "", "" // it has been held (RFC 4865)
	if by, mode, ok := deliverBy(w.l.Envelope, w.l.Arrived); ok {
		e.By = remaining(w.l.Envelope.By, by, w.now, mode)
	}
	var failed error
	begun := w.r.Now()
	w.r.Relay.SendEach(ctx, m, e, func(places []int, out []Outcome) {
		changed := make(map[int]queue.Recipient)
		for _, p := range places {
			if ctx.Err() != nil && out[p].Err != nil && out[p].Reply.Code == 0 {
				continue // we were stopped: that is no attempt
			}
			if out[p].crowded != "" {
				w.crowded = out[p].crowded
				continue
			}
			changed[todo[p]] = w.after(todo[p], out[p], begun)
		}
		if err := w.l.Record(changed); err != nil {
			failed = errors.Join(failed, err)
		}
	})
	return failed
}

// after is what an attempt makes of a recipient.
func (w *work) after(i int, o Outcome, begun time.Time) queue.Recipient {
	r := w.l.Recipients[i]
	now := w.r.Now()
	r.Attempts++
	r.Last, r.Host = now, o.Host
	switch {
	case o.Reply.Code != 0:
		r.Reply = o.Reply.String()
	case o.Err != nil:
		r.Reply = "(" + o.Err.Line() + ")"
	default:
		r.Reply = ""
	}
	switch {
	case o.Err == nil:
		r.State = queue.Delivered
		w.counts.Delivered++
		w.taken[i] = o
		w.log(r, "delivered", now.Sub(begun))
	case o.Err.Class == status.Permanent:
		r.State, r.Next = queue.Failed, now
		w.counts.Failed++
		w.log(r, "failed", now.Sub(begun))
	default:
		r.Next = w.next(r.Attempts, now)
		w.counts.Delayed++
		w.delayed(i, &r, now)
		w.log(r, "delayed", now.Sub(begun))
	}
	return r
}

// next is when to try again, or before that to give up or to tell of a delay, as the sender may have set a time for it.
func (w *work) next(attempts int, now time.Time) time.Time {
	next := now.Add(w.r.Retry.Wait(attempts, rand.Float64()))
	ends := []time.Time{w.l.Arrived.Add(w.r.Retry.GiveUp)}
	if by, _, ok := deliverBy(w.l.Envelope, w.l.Arrived); ok {
		ends = append(ends, by)
	}
	for _, end := range ends {
		if end.After(now) && end.Before(next) {
			next = end
		}
	}
	return next
}

// delayed notes that the sender is to hear of the delay: once, after a while, or when a time he set without insisting is
// over (DELIVERBY with N, RFC 2852 section 4.1.4.1).
func (w *work) delayed(i int, r *queue.Recipient, now time.Time) {
	after := w.l.Arrived.Add(w.r.Retry.Warn)
	if by, mode, ok := deliverBy(w.l.Envelope, w.l.Arrived); ok && mode == 'N' && by.Before(after) {
		after = by
	}
	if !r.Warned && !now.Before(after) {
		w.warn[i] = true
	}
}

// log writes the line for a recipient's fate.
func (w *work) log(r queue.Recipient, fate string, took time.Duration) {
	w.r.Log.Info("recipient "+fate, "id", w.l.ID, "from", w.l.Envelope.Sender.Path(), "rcpt", r.Address.Path(), "peer", r.Host,
		"size", w.l.Size, "attempts", r.Attempts, "age", w.now.Sub(w.l.Arrived).Round(time.Second), "took", took.Round(time.Millisecond),
		"reply", status.Escape(r.Reply, 300))
}

// deliverBy reads BY (RFC 2852 section 4): until when, and R (return) or N (notify).
func deliverBy(e *envelope.Envelope, arrived time.Time) (by time.Time, mode byte, ok bool) {
	seconds, flags, _ := strings.Cut(e.By, ";")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if e.By == "" || err != nil || flags == "" {
		return by, 0, false
	}
	return arrived.Add(time.Duration(n) * time.Second), flags[0], true
}

// remaining is BY with the time that is left (RFC 2852 section 4.1.2).
func remaining(text string, by, now time.Time, mode byte) string {
	_, flags, _ := strings.Cut(text, ";")
	left := int64(by.Sub(now) / time.Second)
	if mode == 'R' {
		left = max(left, 1)
	}
	return strconv.FormatInt(left, 10) + ";" + flags
}

// priority is that of RFC 6710, 0 without one.
func priority(e *envelope.Envelope) int {
	n, err := strconv.Atoi(e.Priority)
	if err != nil {
		return 0
	}
	return min(max(n, -9), 9)
}
