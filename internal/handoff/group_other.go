//go:build unix && !linux

package handoff

// reap waits for the program, takes its exit status, and kills what it left behind in its group.
func (p *child) reap() { p.bury() }
