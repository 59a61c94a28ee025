package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"pennypost/internal/cli"
	"pennypost/internal/status"
)

// job is one domain on its way from the input to the output.
type job struct {
	arg    string
	done   chan struct{} // closed when there is an answer
	answer *answer
}

// arguments are the domains of the command line.
func arguments(args []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, arg := range args {
			if !yield(arg, nil) {
				return
			}
		}
	}
}

// lines are the domains of a stream. It ends when ctx does, even if the stream
// is waiting for more.
func lines(ctx context.Context, in io.Reader) iter.Seq2[string, error] {
	type line struct {
		text string
		err  error
	}
	read := make(chan line)
	go func() {
		defer close(read)
		s := bufio.NewScanner(in)
		s.Buffer(make([]byte, 0, maxLine), maxLine)
		for s.Scan() {
			if text := strings.TrimSpace(s.Text()); text != "" {
				read <- line{text: text}
			}
		}
		if err := s.Err(); err != nil {
			read <- line{err: status.Errorf(status.NoInput, "read standard input: %w", err)}
		}
	}()
	return func(yield func(string, error) bool) {
		for {
			select {
			case l, ok := <-read:
				if !ok || !yield(l.text, l.err) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// run answers for all domains, several at a time. The error is about our own
// input or output or being told to stop, or else the worst fate of a domain.
func (q *query) run(ctx context.Context, domains iter.Seq2[string, error]) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	queue := make(chan *job, 4*q.jobs)
	var inputErr error
	go func() {
		defer close(queue)
		inputErr = q.feed(running, domains, queue)
	}()
	defer q.progress.done()
	for j := range queue {
		select {
		case <-j.done:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if err := q.tell(j.answer); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return status.Errorf(status.TempFail, "interrupted")
	case inputErr != nil:
		return inputErr
	case q.worst > 0:
		return &cli.ExitError{Status: q.worst}
	}
	return nil
}

// feed starts a job for each domain and puts it into queue: at once, so that the
// order stays, or when it is done.
func (q *query) feed(ctx context.Context, domains iter.Seq2[string, error], queue chan<- *job) error {
	slots := make(chan struct{}, q.jobs)
	put := func(j *job) {
		select {
		case queue <- j:
		case <-ctx.Done():
		}
	}
	var working sync.WaitGroup
	defer working.Wait()
	for arg, err := range domains {
		if err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		j := &job{arg: arg, done: make(chan struct{})}
		if !q.unordered {
			put(j)
		}
		working.Go(func() {
			defer func() { <-slots }()
			j.answer = q.one(ctx, j.arg)
			close(j.done)
			if q.unordered {
				put(j)
			}
		})
	}
	return nil
}

// tell prints an answer, each stream in one write, so that a reader never sees
// half a domain.
func (q *query) tell(a *answer) error {
	q.worst = max(q.worst, a.status)
	q.progress.step(a.talk.Len() > 0)
	if a.talk.Len() > 0 {
		_, _ = io.WriteString(q.talk, a.talk.String()) // there is nowhere else to complain
	}
	if a.out.Len() == 0 {
		return nil
	}
	if _, err := io.WriteString(q.out, a.out.String()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
