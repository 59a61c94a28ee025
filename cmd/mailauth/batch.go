package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pennypost/internal/cli"
	"pennypost/internal/cli/live"
	"pennypost/internal/mailauth"
	"pennypost/internal/message"
	"pennypost/internal/status"
)

// batchOptions are the flags of batch.
type batchOptions struct {
	check checkFlags
	jobs  int
}

func newBatch() *cobra.Command {
	var o batchOptions
	cmd := &cobra.Command{
		Use:                   "batch [FLAGS] SOURCE...",
		DisableFlagsInUseLine: true,
		Short:                 "Check many messages and tell of each in a line",
		Long: "Batch checks all messages of mailboxes and writes the results as JSON, a line for each message, in\n" +
			"their order. SOURCE is mbox:FILE, mboxo:FILE, maildir:DIR or nul:FILE, which has a NUL behind each\n" +
			"message; the file - is standard input.",
		Example: "  mailauth batch maildir:Maildir mbox:archive.mbox >results\n" +
			"  find corpus -name '*.eml' -exec sh -c 'cat \"$1\"; printf \"\\0\"' - {} \\; | mailauth batch nul:-",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.check.addRules(cmd)
	cmd.Flags().IntVarP(&o.jobs, "jobs", "j", 8, "check `N` messages at a time")
	return cmd
}

// maxJobs bounds what is open and in memory at a time.
const maxJobs = 256

func (o *batchOptions) run(cmd *cobra.Command, args []string) error {
	if o.jobs < 1 || o.jobs > maxJobs {
		return cli.Usagef("--jobs must be from 1 to %d", maxJobs)
	}
	for _, arg := range args {
		if _, _, err := splitSource(arg); err != nil {
			return err
		}
	}
	options, err := o.check.options()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	options.Resolver = newSharedDNS(ctx, options.Resolver)
	b := &batch{ctx: ctx, options: options, out: json.NewEncoder(cmd.OutOrStdout()), errs: cmd.ErrOrStderr()}
	b.out.SetEscapeHTML(false)
	queue := make(chan *job, o.jobs)
	go b.readAll(args, cmd.InOrStdin(), queue)
	for {
		select {
		case j, more := <-queue:
			if !more {
				return b.end()
			}
			if err := b.write(j); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err() // the reader may wait for a terminal for ever
		}
	}
}

// batch is one run.
type batch struct {
	ctx     context.Context
	options mailauth.Options
	out     *json.Encoder
	errs    io.Writer

	bad, trouble int   // messages that could not be read, and that may have other results later
	failed       error // the first source that could not be read
}

// job is one message on its way, or a source that ended with an error.
type job struct {
	line batchLine
	err  error // of the source
	done chan struct{}
}

// batchLine is what is written of a message.
type batchLine struct {
	Source    string       `json:"source"`
	Number    int          `json:"number"` // in the source, from 1
	Place     string       `json:"place"`
	MessageID string       `json:"message_id,omitempty"`
	From      string       `json:"from,omitempty"`
	Error     string       `json:"error,omitempty"` // why there are no results
	Results   []resultLine `json:"results,omitempty"`
}

// resultLine is one result as in an Authentication-Results field.
type resultLine struct {
	Method     string            `json:"method"`
	Result     string            `json:"result"`
	Reason     string            `json:"reason,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

// readAll puts the messages of all sources into the queue and has them checked; the queue bounds how many at a time.
func (b *batch) readAll(sources []string, stdin io.Reader, queue chan<- *job) {
	defer close(queue)
	for _, source := range sources {
		f, err := openFeed(source, stdin)
		if err == nil {
			err = b.readFeed(source, f, queue)
			f.close()
		}
		if err != nil && !b.put(queue, &job{line: batchLine{Source: source}, err: err, done: closed}) {
			return
		}
	}
}

// closed is the done of a job that has nothing to do.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// put is false when nobody takes jobs any more.
func (b *batch) put(queue chan<- *job, j *job) bool {
	select {
	case queue <- j:
		return true
	case <-b.ctx.Done():
		return false
	}
}

func (b *batch) readFeed(source string, f feed, queue chan<- *job) error {
	var at atomic.Int64
	defer watch(f, &at)()
	for n := 1; ; n++ {
		m, place, err := f.next()
		done, _ := f.progress()
		at.Store(done)
		var bad *unreadable
		if err != nil && !errors.As(err, &bad) {
			if err == io.EOF {
				return nil
			}
			return err
		}
		j := &job{line: batchLine{Source: source, Number: n, Place: place}, done: make(chan struct{})}
		if err != nil {
			j.line.Error = bad.Error()
			close(j.done)
		} else {
			go b.check(m, j)
		}
		if !b.put(queue, j) {
			return nil
		}
	}
}

// check fills in what is found of a message.
func (b *batch) check(m *message.Message, j *job) {
	defer close(j.done)
	defer m.Close()
	_, r, err := mailauth.Verify(b.ctx, m, b.options)
	if err != nil {
		j.line.Error = err.Error()
		return
	}
	if header, err := m.Header(); err == nil {
		j.line.MessageID, j.line.From = header.Get("Message-ID"), header.Get("From")
	}
	for _, res := range r.Field.Results {
		j.line.Results = append(j.line.Results, lineOf(res))
	}
}

func lineOf(r mailauth.MethodResult) resultLine {
	l := resultLine{Method: r.Method, Result: r.Value, Reason: r.Reason}
	for _, p := range r.Properties {
		if l.Properties == nil {
			l.Properties = map[string]string{}
		}
		l.Properties[p.Type+"."+p.Name] = p.Value
	}
	return l
}

// write waits for a job and writes its line.
func (b *batch) write(j *job) error {
	select {
	case <-j.done:
	case <-b.ctx.Done():
	}
	switch {
	case b.ctx.Err() != nil:
		return b.ctx.Err()
	case j.err != nil:
		if b.failed == nil {
			b.failed = j.err
		} else {
			fmt.Fprintf(b.errs, "mailauth: %s\n", status.Escape(j.err.Error(), maxLine))
		}
		return nil
	case j.line.Error != "":
		b.bad++
	}
	for _, r := range j.line.Results {
		if r.Result == "temperror" {
			b.trouble++
			break
		}
	}
	if err := b.out.Encode(j.line); err != nil {
		return status.Errorf(status.IO, "writing the results: %w", err)
	}
	return nil
}

// end is the exit status of the whole.
func (b *batch) end() error {
	switch {
	case b.ctx.Err() != nil:
		return b.ctx.Err()
	case b.failed != nil:
		return b.failed
	case b.bad > 0:
		return status.Errorf(status.Data, "messages that could not be checked: %d", b.bad)
	case b.trouble > 0:
		return status.Errorf(status.TempFail, "messages that may have other results when the DNS answers: %d", b.trouble)
	}
	return nil
}

// watch shows on a terminal how far a source is read, unless the results go there.
func watch(f feed, at *atomic.Int64) (stop func()) {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return func() {}
	}
	_, of := f.progress()
	return live.Show(os.Stderr, func() string {
		if of <= 0 {
			return fmt.Sprint(at.Load())
		}
		return fmt.Sprintf("%d%%", at.Load()*100/of)
	})
}
