//go:build unix

package handoff

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the program the leader of a new process group, and somebody else's if o is not nil.
func ownGroup(cmd *exec.Cmd, o *Owner) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if o != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.UID, Gid: o.GID}
	}
}

// signal reaches the program and, if it leads a group, all of it. It does nothing once the program is reaped, since its
// number may be another's then.
func (p *child) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	pid := p.cmd.Process.Pid
	if p.group && syscall.Kill(-pid, sig) == nil {
		return
	}
	syscall.Kill(pid, sig)
}

// bury takes the exit status of a program that may still be running, and then kills its group.
func (p *child) bury() {
	p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	p.killGroup()
}

func (p *child) killGroup() {
	if p.group {
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}
