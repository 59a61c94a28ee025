package handoff

import "golang.org/x/sys/unix"

// reap waits for the program, kills what it left behind in its group, and takes its exit status. It is done in this order
// because nobody else can have the program's number, or be in a group of that number, before the status is taken.
func (p *child) reap() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			p.bury()
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killGroup()
	p.reaped = true
	p.cmd.Wait()
}
