package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress counts the domains on a terminal while the results go elsewhere. Nil
// shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress() *progress {
	if !term.IsTerminal(int(os.Stderr.Fd())) || term.IsTerminal(int(os.Stdout.Fd())) || term.IsTerminal(int(os.Stdin.Fd())) {
		return nil
	}
	return &progress{progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("domains"),
		progressbar.OptionClearOnFinish())}
}

// step counts one domain and makes room if something is to be said about it. A
// terminal that does not take it is no reason to stop.
func (p *progress) step(talk bool) {
	if p == nil {
		return
	}
	_ = p.bar.Add(1)
	if talk {
		_ = p.bar.Clear()
	}
}

func (p *progress) done() {
	if p != nil {
		_ = p.bar.Exit()
		_ = p.bar.Clear()
	}
}
