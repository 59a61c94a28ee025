package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/queue"
	"pennypost/internal/status"
)

// edit is a verb that changes entries.
type edit struct {
	name, short, long string
	do                func(l *queue.Locked, f *filter) error
}

var edits = []edit{
	{"hold", "Keep entries from being sent", "Hold keeps entries in the queue, and from being sent, until they are released.",
		func(l *queue.Locked, _ *filter) error { return l.Hold(true) }},
	{"release", "Let held entries be sent", "Release lets held entries be sent again.",
		func(l *queue.Locked, _ *filter) error { return l.Hold(false) }},
	{"retry", "Make entries due now", "Retry makes the waiting recipients of entries due now, so that the next run tries them.",
		func(l *queue.Locked, f *filter) error {
			return change(l, f, func(r *queue.Recipient) bool { r.Next = time.Now(); return r.State == queue.Waiting })
		}},
	{"remove", "Take entries out of a queue", "Remove takes recipients out of the queue and tells nobody. With all of them the entry goes.",
		func(l *queue.Locked, f *filter) error {
			return change(l, f, func(r *queue.Recipient) bool { open := r.State.Open(); r.State = queue.Dropped; return open })
		}},
	{"bounce", "Give entries up", "Bounce gives up the waiting recipients of entries; the next run tells their senders.",
		func(l *queue.Locked, f *filter) error {
			return change(l, f, func(r *queue.Recipient) bool {
				waits := r.State == queue.Waiting
				last := ""
				if r.Reply != "" {
					last = "; the last attempt: " + r.Reply
				}
				r.State, r.Next, r.Reply = queue.Failed, time.Now(), "(554 5.0.0 given up by the postmaster"+last+")"
				return waits
			})
		}},
}

// command takes names of entries, or a filter, or --all: nothing at all is no way to say everything.
func (e edit) command(o *options) *cobra.Command {
	var f filter
	var every bool
	cmd := queueCommand(o, e.name+" [FLAGS] [ID...]", e.short, e.long+"\nWithout names it is those entries that the flags choose. It prints the names of the entries it changed.",
		"  smtpsend --queue DIR "+e.name+" --domain example.org", func(cmd *cobra.Command, q *queue.Queue, args []string) error {
			if len(args) == 0 && f.empty() && !every {
				return cli.Usagef("which entries? name them, choose them by flags, or say --all")
			}
			return chosen(q, args, &f, func(entry *queue.Entry) error { return editOne(cmd, q, entry.ID, e, &f, len(args) > 0) })
		})
	f.flags(cmd.Flags())
	cmd.Flags().BoolVar(&every, "all", false, "all entries")
	return cmd
}

func editOne(cmd *cobra.Command, q *queue.Queue, id queue.ID, e edit, f *filter, wasNamed bool) error {
	l, err := q.Lock(id)
	switch {
	case queue.IsGone(err):
		return nil
	case queue.IsBusy(err) && !wasNamed:
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", id, queue.ErrBusy)
		return nil
	case err != nil:
		return err
	}
	defer l.Unlock()
	if err := e.do(l, f); err != nil {
		return err
	}
	if l.Done() {
		if err := l.Remove(); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
	return err
}

// change records those recipients that the filter takes and f says were changed.
func change(l *queue.Locked, f *filter, do func(*queue.Recipient) bool) error {
	changed := make(map[int]queue.Recipient)
	for i, r := range l.Recipients {
		if f.ofRecipient(r) && do(&r) {
			changed[i] = r
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := l.Record(changed); err != nil {
		return status.Of(err)
	}
	return nil
}
