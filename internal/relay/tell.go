package relay

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/queue/report"
	"pennypost/internal/status"
)

// tell puts the report for the sender into the queue, where there is something he is to hear, and then records that. If
// the machine stops between the two he hears it twice rather than never.
func (w *work) tell(ctx context.Context, m *message.Message) error {
	list, changed := w.news()
	if len(list) == 0 {
		return nil
	}
	f := report.Facts{Host: w.r.Host, Postmaster: w.r.Postmaster, Envelope: w.l.Envelope, Message: m, Arrival: w.l.Arrived,
		Now: w.now, MessageID: "<" + strings.ToLower(rand.Text()) + "@" + w.r.Host + ">", Recipients: list}
	to, told := report.Decide(f)
	if len(told) > 0 && !mayTell(w.r.Queue.Root(), to.String(), w.now) {
		w.r.Log.Warn("reports to a sender are put off, there were too many", "id", w.l.ID, "from", to.Path())
		return w.putOff()
	}
	note, e, err := w.r.Compose(ctx, f)
	if err != nil {
		return err
	}
	if note != nil {
		id, err := w.r.Queue.Put(note, e, w.now, w.now)
		if err != nil {
			return err
		}
		w.counts.Reports++
		w.r.Log.Info("told the sender", "id", w.l.ID, "report", id, "to", e.Recipients[0].Path(), "recipients", len(told))
	}
	if len(changed) == 0 {
		return nil
	}
	return w.l.Record(changed)
}

// news are the recipients of whom there is something to tell, and what is to be recorded when it is told.
func (w *work) news() (list []report.Recipient, changed map[int]queue.Recipient) {
	changed = make(map[int]queue.Recipient)
	for i, r := range w.l.Recipients {
		var action report.Action
		switch o, taken := w.taken[i]; {
		case r.State == queue.Failed && !r.Next.After(w.r.Now()):
			action = report.Failed
			r.State = queue.Reported
			changed[i] = r
		case w.warn[i]:
			action = report.Delayed
			r.Warned = true
			changed[i] = r
		case taken && !o.DSN:
			action = report.Relayed
			if o.Local {
				action = report.Delivered
			}
		default:
			continue
		}
		list = append(list, w.fact(r, action))
	}
	return list, changed
}

// fact is a recipient as the report has him.
func (w *work) fact(r queue.Recipient, action report.Action) report.Recipient {
	f := report.Recipient{Address: r.Address, Notify: r.Notify, ORCPT: r.ORcpt, Action: action, Host: r.Host, LastAttempt: r.Last}
	if action == report.Delayed {
		f.RetryUntil = w.l.Arrived.Add(w.r.Retry.GiveUp)
	}
	if action != report.Failed && action != report.Delayed {
		return f
	}
	// What is in parentheses is our own word and not a server's.
	line := r.Reply
	if own, ok := strings.CutPrefix(r.Reply, "("); ok {
		line = strings.TrimSuffix(own, ")")
	} else {
		f.Reply = r.Reply
		line, _, _ = strings.Cut(line, "\n")
	}
	if len(line) > 3 && line[3] == '-' { // the first of several
		line = line[:3] + " " + line[4:]
	}
	e, ok := status.ParseLine(line)
	if !ok {
		e = status.Errorf(status.HardFail, "%s", line)
	}
	f.Err = e
	return f
}

// putOff leaves the failures for an hour.
func (w *work) putOff() error {
	changed := make(map[int]queue.Recipient)
	for i, r := range w.l.Recipients {
		if r.State == queue.Failed {
			r.Next = w.now.Add(time.Hour)
			changed[i] = r
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return w.l.Record(changed)
}
