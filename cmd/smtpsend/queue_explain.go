package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/queue"
	"pennypost/internal/status"
)

func newExplain(o *options) *cobra.Command {
	return queueCommand(o, "explain ID...", "Say why an entry is still in a queue",
		"Explain says in sentences what became of each recipient, why an entry is still here, and what happens next.",
		"  smtpsend --queue DIR explain 0hogj8hpwlcam8d",
		func(cmd *cobra.Command, q *queue.Queue, args []string) error {
			if err := named(args); err != nil {
				return err
			}
			return chosen(q, args, &filter{}, func(e *queue.Entry) error {
				explain(cmd.OutOrStdout(), q, e, time.Now())
				return nil
			})
		})
}

// named wants the name of an entry at least.
func named(args []string) error {
	if len(args) == 0 {
		return cli.Usagef("which entry? 'smtpsend --queue DIR list' prints their names")
	}
	return nil
}

func explain(out io.Writer, q *queue.Queue, e *queue.Entry, now time.Time) {
	say := func(format string, a ...any) {
		fmt.Fprintln(out, status.Escape(fmt.Sprintf(format, a...), status.MaxText))
	}
	say("%s is a message of %d bytes from %s for %d recipient(s). It came %s, %s ago.", e.ID, e.Size, e.Envelope.Sender.Path(),
		len(e.Recipients), e.Arrived.Format(time.RFC1123Z), span(now.Sub(e.Arrived)))
	if e.Held {
		say("It is held: nothing happens until 'smtpsend --queue DIR release %s'.", e.ID)
	}
	if l, err := q.Lock(e.ID); queue.IsBusy(err) {
		say("A process is at work on it right now.")
	} else if err == nil {
		l.Unlock()
	}
	for _, r := range e.Recipients {
		say("%s", explainRecipient(r, now))
	}
}

func explainRecipient(r queue.Recipient, now time.Time) string {
	who := r.Address.Path()
	last := "It has not been tried yet."
	if r.Attempts > 0 {
		last = fmt.Sprintf("It has been tried %d time(s), last %s ago", r.Attempts, span(now.Sub(r.Last)))
		if r.Host != "" {
			last += " at " + r.Host
		}
		if own, ok := strings.CutPrefix(r.Reply, "("); ok {
			last += ", which did not work: " + strings.TrimSuffix(own, ")") + "."
		} else {
			last += ", where the server said: " + r.Reply + "."
		}
	}
	switch r.State {
	case queue.Delivered:
		return fmt.Sprintf("%s has it: %s took it %s ago.", who, r.Host, span(now.Sub(r.Last)))
	case queue.Reported:
		return who + " will never get it, and whoever is to hear of that has been told. " + last
	case queue.Failed:
		return who + " will never get it. The next run tells the sender, if he is to be told. " + last
	case queue.Dropped:
		return who + " was taken off by hand. " + last
	}
	next := "It is due now, and the next run tries it."
	if r.Next.After(now) {
		next = fmt.Sprintf("The next attempt is due in %s, at %s.", span(r.Next.Sub(now)), r.Next.Local().Format(time.RFC1123Z))
	}
	if r.Warned {
		next += " The sender knows of the delay."
	}
	return who + " waits. " + last + " " + next
}

// span is a duration without what nobody wants to know.
func span(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Second:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}
