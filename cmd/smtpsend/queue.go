package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/signing"
	"pennypost/internal/dkim"
	"pennypost/internal/envelope"
	"pennypost/internal/message"
	"pennypost/internal/queue"
	"pennypost/internal/status"
)

// queueDir opens the queue of --queue or MAIL_QUEUE.
func openQueue(cmd *cobra.Command, dir string) (*queue.Queue, error) {
	path := cli.EnvOr(dir, "MAIL_QUEUE")
	if path == "" {
		return nil, cli.Usagef("no queue: give --queue DIR or set MAIL_QUEUE")
	}
	return queue.Open(path, queue.Options{Log: cli.Logger(cmd)})
}

// enqueue puts a message into the queue and prints the entry's name. It is on disk then.
func (o *options) enqueue(cmd *cobra.Command, m *message.Message, e *envelope.Envelope) error {
	keys, err := signingKeys(o.sign)
	if err != nil {
		return err
	}
	q, err := openQueue(cmd, o.queue)
	if err != nil {
		return err
	}
	defer q.Close()
	id, err := put(q, m, e, keys)
	if err != nil {
		return err
	}
	if o.verbose {
		fmt.Fprintln(cmd.ErrOrStderr(), id)
	}
	return nil
}

// signingKeys reads DOMAIN:SELECTOR:KEYFILE of each signature that is to be made.
func signingKeys(specs []string) ([]dkim.SignOptions, error) {
	var keys []dkim.SignOptions
	for _, spec := range specs {
		k, err := signing.Parse(spec)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// put signs a message and puts it into the queue.
func put(q *queue.Queue, m *message.Message, e *envelope.Envelope, keys []dkim.SignOptions) (queue.ID, error) {
	now := time.Now()
	m, err := signing.Sign(m, keys, now)
	if err != nil {
		return "", err
	}
	return q.Put(m, e, now, queue.ReleaseTime(e, now))
}

// queueCommand is a verb about the queue.
func queueCommand(o *options, use, short, long, example string, run func(cmd *cobra.Command, q *queue.Queue, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := openQueue(cmd, o.queue)
			if err != nil {
				return err
			}
			defer q.Close()
			return run(cmd, q, args)
		},
	}
}

// ids reads names of entries.
func ids(args []string) ([]queue.ID, error) {
	var all []queue.ID
	for _, a := range args {
		id, err := queue.ParseID(a)
		if err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, nil
}

// chosen are the entries that were named, or all that the filter takes, oldest first. One that is gone, or cannot be read,
// is an error only when it was named.
func chosen(q *queue.Queue, args []string, f *filter, visit func(*queue.Entry) error) error {
	list, err := ids(args)
	if err == nil && len(args) == 0 {
		list, err = q.IDs()
	}
	if err != nil {
		return err
	}
	at := -1
	for e, err := range q.ReadAll(list) {
		at++
		switch {
		case err != nil && len(args) == 0:
			continue
		case queue.IsGone(err):
			return status.Errorf(status.NoInput, "%s is not in the queue", list[at])
		case err != nil:
			return err
		}
		if !f.takes(e) {
			continue
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// addVerbs adds what can be done with a queue.
func addVerbs(root *cobra.Command, o *options) {
	with := func(name string, make func(*options) *cobra.Command) cli.Verb {
		return cli.Verb{Name: name, New: func() *cobra.Command { return make(o) }}
	}
	cli.Verbs(root, with("run", newRun), with("list", newList), with("show", newShow), with("explain", newExplain), with("stats", newStats))
	for _, e := range edits {
		cli.Verbs(root, with(e.name, e.command))
	}
}

// columns is how wide a list may be.
func columns(w io.Writer) int {
	if n, ok := terminalWidth(w); ok {
		return max(n, 40)
	}
	return 0
}
