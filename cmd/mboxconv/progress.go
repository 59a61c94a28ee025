package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows on a terminal how far the work is; elsewhere it does nothing.
type progress struct {
	in  source
	bar *progressbar.ProgressBar
}

func newProgress(in source) *progress {
	p := &progress{in: in}
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return p
	}
	_, of := in.progress()
	p.bar = progressbar.NewOptions64(of,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish())
	return p
}

func (p *progress) show() {
	if p.bar != nil {
		at, _ := p.in.progress()
		p.bar.Set64(at)
	}
}

func (p *progress) done() {
	if p.bar != nil {
		p.bar.Exit()
		p.bar.Clear()
	}
}
