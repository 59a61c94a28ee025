package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
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
	read := make(chan line, 64)
	go func() {
		defer close(read)
		r := bufio.NewReaderSize(in, maxLine)
		for {
			text, err := r.ReadSlice('\n')
			if domain := string(bytes.TrimSpace(text)); domain != "" {
				read <- line{text: domain}
			}
			for err == bufio.ErrBufferFull { // its beginning is no domain either
				_, err = r.ReadSlice('\n')
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				read <- line{err: status.Errorf(status.NoInput, "read standard input: %w", err)}
				return
			}
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
	queue := make(chan *job, maxAhead)
	var inputErr error
	go func() {
		defer close(queue)
		inputErr = q.feed(running, domains, queue)
	}()
	defer q.progress.done()
	for {
		j, err := q.next(ctx, queue)
		if err != nil {
			return err
		}
		if j == nil || ctx.Err() != nil {
			break
		}
		if err := q.tell(j.answer); err != nil {
			return err
		}
	}
	if err := q.flush(); err != nil {
		return err
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

// next waits for the next job to be done; nil after the last, or at the end of
// ctx. Nothing stays unprinted during a wait.
func (q *query) next(ctx context.Context, queue <-chan *job) (j *job, err error) {
	select {
	case j = <-queue:
	default:
		if err := q.flush(); err != nil {
			return nil, err
		}
		j = <-queue
	}
	if j == nil {
		return nil, nil
	}
	select {
	case <-j.done:
		return j, nil
	default:
	}
	if err := q.flush(); err != nil {
		return nil, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
	}
	return j, nil
}

// feed starts a job for each domain and puts it into queue: at once, so that the
// order stays, or when it is done.
func (q *query) feed(ctx context.Context, domains iter.Seq2[string, error], queue chan<- *job) error {
	todo := make(chan *job, q.jobs)
	put := func(j *job) {
		select {
		case queue <- j:
		case <-ctx.Done():
		}
	}
	var working sync.WaitGroup
	defer working.Wait()
	defer close(todo)
	workers := 0
	for arg, err := range domains {
		if err != nil {
			return err
		}
		j := &job{arg: arg, done: make(chan struct{})}
		if !q.unordered {
			put(j)
		}
		if workers < q.jobs {
			workers++
			working.Go(func() { q.work(ctx, todo, put) })
		}
		select {
		case todo <- j:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// work does one job after the other.
func (q *query) work(ctx context.Context, todo <-chan *job, put func(*job)) {
	for j := range todo {
		j.answer = q.one(ctx, j.arg)
		close(j.done)
		if q.unordered {
			put(j)
		}
	}
}

// tell prints an answer, each stream in one write, so that a reader never sees
// half a domain. What goes to the output may stay in the buffer for now.
func (q *query) tell(a *answer) error {
	q.worst = max(q.worst, a.status)
	q.progress.step(a.talk.Len() > 0)
	if a.talk.Len() > 0 {
		if err := q.flush(); err != nil {
			return err
		}
		_, _ = io.WriteString(q.talk, a.talk.String()) // there is nowhere else to complain
	}
	if q.pending.WriteString(a.out.String()); q.pending.Len() >= outBuffer {
		return q.flush()
	}
	return nil
}

// flush prints what is pending.
func (q *query) flush() error {
	if q.pending.Len() == 0 {
		return nil
	}
	defer q.pending.Reset()
	if _, err := q.out.Write(q.pending.Bytes()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
