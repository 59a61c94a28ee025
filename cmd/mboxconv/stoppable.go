package main

import (
	"context"
	"io"
)

// stoppable is a reader whose Read returns when the program is told to stop,
// also while it waits for a pipe or a terminal, which cannot be interrupted.
type stoppable struct {
	ctx  context.Context
	r    io.Reader
	buf  []byte // what a waiting read fills
	rest []byte // the part of buf that is not taken yet
	err  error  // what came with it
	done chan int
}

func newStoppable(ctx context.Context, r io.Reader) *stoppable {
	return &stoppable{ctx: ctx, r: r, buf: make([]byte, 64<<10), done: make(chan int, 1)}
}

func (s *stoppable) Read(p []byte) (int, error) {
	if len(s.rest) == 0 && s.err == nil {
		s.fill()
	}
	if len(s.rest) == 0 {
		return 0, s.err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// fill reads once. When the context ends first, the read goes on by itself and nobody looks at buf again.
func (s *stoppable) fill() {
	var err error
	go func() {
		var n int
		n, err = s.r.Read(s.buf)
		s.done <- n
	}()
	select {
	case n := <-s.done:
		s.rest, s.err = s.buf[:n], err
	case <-s.ctx.Done():
		s.err = s.ctx.Err()
	}
}
