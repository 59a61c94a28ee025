// Package live shows on a terminal how far long work is, in one line that is written again and again. A pipe hears nothing.
//
// It is for programs that start once for each message and seldom work long: it makes nothing when they start, which a library
// for bars does.
package live

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Every is how long a line stands.
const Every = 500 * time.Millisecond

// Show prints line's text to w, if that is a terminal, again and again until stop is called, which takes it away. Line is called
// by another goroutine.
func Show(w io.Writer, line func() string) (stop func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	return show(w, line, time.Tick(Every))
}

func show(w io.Writer, line func() string, again <-chan time.Time) (stop func()) {
	done := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		for {
			select {
			case <-done:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-again:
				fmt.Fprint(w, "\r\x1b[K"+line())
			}
		}
	})
	return func() { close(done); shown.Wait() }
}
