//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"pennypost/internal/envelope"
)

// pipeGrace is how long a command may go on after the session, before it is killed.
const pipeGrace = 10 * time.Second

// dialPipe runs the command with one end of a socket pair as its standard input and output. It gets our environment
// without the variables of mailpipe(7): they are about the message, not about this connection.
func (s *sender) dialPipe(ctx context.Context) (net.Conn, error) {
	environ, err := (&envelope.Envelope{}).Environ(os.Environ())
	if err != nil {
		return nil, err
	}
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command("/bin/sh", "-c", s.command)
	cmd.Env = environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, s.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // its exit status says nothing that its replies did not
		close(ended)
	}()
	return &pipeConn{Conn: conn, ctx: ctx, process: cmd.Process, ended: ended}, nil
}

func socketPair() (ours net.Conn, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	file := os.NewFile(uintptr(fds[0]), "socketpair")
	defer file.Close()
	theirs = os.NewFile(uintptr(fds[1]), "socketpair")
	if ours, err = net.FileConn(file); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// pipeConn is a connection to a child. Close ends the child, too.
type pipeConn struct {
	net.Conn
	ctx     context.Context
	process *os.Process
	ended   chan struct{}
	once    sync.Once
}

func (p *pipeConn) Close() error {
	err := p.Conn.Close()
	p.once.Do(func() {
		select {
		case <-p.ended:
		case <-p.ctx.Done():
		case <-time.After(pipeGrace):
		}
		syscall.Kill(-p.process.Pid, syscall.SIGKILL) // what is left of its group
		<-p.ended
	})
	return err
}
