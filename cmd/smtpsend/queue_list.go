package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/queue"
	"pennypost/internal/status"
)

// row is a recipient of an entry as list and show print it.
type row struct {
	ID        queue.ID    `json:"id"`
	Arrived   time.Time   `json:"arrived"`
	Size      int64       `json:"size"`
	Sender    string      `json:"sender"`
	Recipient string      `json:"recipient"`
	State     queue.State `json:"state"`
	Held      bool        `json:"held,omitempty"`
	Attempts  int         `json:"attempts"`
	Next      *time.Time  `json:"next,omitempty"`
	Last      *time.Time  `json:"last,omitempty"`
	Host      string      `json:"host,omitempty"`
	Reply     string      `json:"reply,omitempty"`
}

func rowOf(e *queue.Entry, r queue.Recipient) row {
	w := row{ID: e.ID, Arrived: e.Arrived, Size: e.Size, Sender: e.Envelope.Sender.Path(), Recipient: r.Address.String(), State: r.State,
		Held: e.Held, Attempts: r.Attempts, Host: r.Host, Reply: r.Reply}
	if r.State.Open() {
		w.Next = &r.Next
	}
	if !r.Last.IsZero() {
		w.Last = &r.Last
	}
	return w
}

// printRow prints a recipient of an entry: name, age, size, state, sender, recipient, last reply. To a terminal it is cut to
// its width.
func printRow(out *bufio.Writer, e *queue.Entry, r *queue.Recipient, width int) {
	state, reply := string(r.State), status.Escape(r.Reply, maxReply)
	if e.Held {
		state = "held"
	}
	sender, to := status.Escape(e.Envelope.Sender.Path(), maxAddress), status.Escape(r.Address.String(), maxAddress)
	if width == 0 {
		b := out.AvailableBuffer()
		for _, field := range []string{string(e.ID), age(e.Arrived), strconv.FormatInt(e.Size, 10), state, sender, to} {
			b = append(append(b, field...), '\t')
		}
		out.Write(append(append(b, reply...), '\n'))
		return
	}
	line := fmt.Sprintf("%s %5s %6s %-9s %s -> %s  %s", e.ID, age(e.Arrived), short(e.Size), state, sender, to, reply)
	if runes := []rune(line); len(runes) > width {
		line = string(runes[:width-1]) + "…"
	}
	fmt.Fprintln(out, line)
}

// age is the largest unit of how long ago it was.
func age(t time.Time) string {
	d := time.Since(t)
	switch {
	case d >= 48*time.Hour:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d >= 2*time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return strconv.Itoa(int(max(d, 0)/time.Second)) + "s"
}

func short(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%dM", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%dk", n>>10)
	}
	return fmt.Sprint(n)
}

func newList(o *options) *cobra.Command {
	var f filter
	var asJSON bool
	cmd := queueCommand(o, "list [FLAGS] [ID...]", "List what is in a queue",
		"List prints a line for each recipient that is still to be served: the entry's name, its age, its size in bytes,\n"+
			"the state, the sender, the recipient and the last reply.",
		"  smtpsend --queue DIR list --domain example.org\n  smtpsend --queue DIR list --json --older 24h",
		func(cmd *cobra.Command, q *queue.Queue, args []string) error {
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
			defer out.Flush()
			width, enc := columns(cmd.OutOrStdout()), json.NewEncoder(out)
			return chosen(q, args, &f, func(e *queue.Entry) error {
				for i := range e.Recipients {
					r := &e.Recipients[i]
					if !r.State.Open() || !f.ofRecipient(*r) {
						continue
					}
					if asJSON {
						if err := enc.Encode(rowOf(e, *r)); err != nil {
							return err
						}
						continue
					}
					printRow(out, e, r, width)
				}
				return nil
			})
		})
	f.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

func newShow(o *options) *cobra.Command {
	var asJSON, body bool
	cmd := queueCommand(o, "show [FLAGS] ID...", "Print an entry of a queue",
		"Show prints an entry: its envelope, what became of each recipient, and the message.",
		"  smtpsend --queue DIR show 0hogj8hpwlcam8d | less",
		func(cmd *cobra.Command, q *queue.Queue, args []string) error {
			if err := named(args); err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			defer out.Flush()
			return chosen(q, args, &filter{}, func(e *queue.Entry) error {
				if err := showEntry(out, e, asJSON); err != nil || asJSON {
					return err
				}
				if body {
					return copyMessage(out, q, e.ID)
				}
				return nil
			})
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line for each recipient, without the message")
	cmd.Flags().BoolVar(&body, "body", true, "print the message too")
	return cmd
}

func showEntry(out io.Writer, e *queue.Entry, asJSON bool) error {
	enc := json.NewEncoder(out)
	if !asJSON {
		held := ""
		if e.Held {
			held = ", held"
		}
		fmt.Fprintf(out, "%s: %d bytes, came %s%s\nfrom %s\n", e.ID, e.Size, e.Arrived.Format(time.RFC3339), held,
			status.Escape(e.Envelope.Sender.Path(), maxAddress))
	}
	for _, r := range e.Recipients {
		if asJSON {
			if err := enc.Encode(rowOf(e, r)); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out, "to %s: %s\n", status.Escape(r.Address.Path(), maxAddress), recipientWords(r))
	}
	if !asJSON {
		fmt.Fprintln(out)
	}
	return nil
}

func copyMessage(out io.Writer, q *queue.Queue, id queue.ID) error {
	m, err := q.Message(id)
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = io.Copy(out, m.Reader())
	return err
}

// recipientWords is what became of a recipient in a few words.
func recipientWords(r queue.Recipient) string {
	text := string(r.State)
	if r.Attempts > 0 {
		text += fmt.Sprintf(", %d attempt(s), the last %s", r.Attempts, r.Last.Format(time.RFC3339))
		if r.Host != "" {
			text += " at " + status.Escape(r.Host, maxAddress)
		}
	}
	if r.Reply != "" {
		text += ": " + status.Escape(r.Reply, maxReply)
	}
	return text
}

func newStats(o *options) *cobra.Command {
	var f filter
	var asJSON bool
	cmd := queueCommand(o, "stats [FLAGS]", "Count what is in a queue",
		"Stats prints how many recipients wait for each domain, the most first: how many, the oldest's age, the domain, and the\n"+
			"last reply of one of them.",
		"  smtpsend --queue DIR stats | head", func(cmd *cobra.Command, q *queue.Queue, args []string) error {
			return stats(cmd.OutOrStdout(), q, &f, asJSON)
		})
	f.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	return cmd
}

// tally is what stats prints of a domain.
type tally struct {
	Domain     string    `json:"domain"`
	Recipients int       `json:"recipients"`
	Oldest     time.Time `json:"oldest"`
	Reply      string    `json:"reply,omitempty"`
}

func stats(out io.Writer, q *queue.Queue, f *filter, asJSON bool) error {
	all := make(map[string]*tally)
	err := chosen(q, nil, f, func(e *queue.Entry) error {
		for _, r := range e.Recipients {
			if !r.State.Open() || !f.ofRecipient(r) {
				continue
			}
			t := all[r.Address.Domain]
			if t == nil {
				t = &tally{Domain: r.Address.Domain, Oldest: e.Arrived}
				all[r.Address.Domain] = t
			}
			t.Recipients++
			if r.Reply != "" {
				t.Reply = r.Reply
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	list := slices.SortedFunc(maps.Values(all), func(a, b *tally) int {
		if a.Recipients != b.Recipients {
			return b.Recipients - a.Recipients
		}
		return strings.Compare(a.Domain, b.Domain)
	})
	enc := json.NewEncoder(out)
	for _, t := range list {
		if asJSON {
			err = enc.Encode(t)
		} else {
			_, err = fmt.Fprintf(out, "%d\t%s\t%s\t%s\n", t.Recipients, age(t.Oldest), status.Escape(t.Domain, maxAddress), status.Escape(t.Reply, maxReply))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
