package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/term"
)

// source reads the secret from where the flags say, or asks the user.
func (l *loginOptions) source(ctx context.Context, host string, stderr io.Writer) (string, error) {
	switch {
	case l.file != "":
		f, err := os.Open(l.file)
		if err != nil {
			return "", err
		}
		return l.read(f)
	case l.fd >= 0:
		f := os.NewFile(uintptr(l.fd), fmt.Sprintf("descriptor %d", l.fd))
		if f == nil {
			return "", fmt.Errorf("descriptor %d is not open", l.fd)
		}
		return l.read(f)
	case l.command != "":
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", l.command)
		cmd.Stderr = stderr
		out, err := cmd.Output()
		return string(out), err
	case l.netrc != "":
		entry, err := readNetrc(l.netrc, host, l.user)
		l.user = entry.user
		return entry.password, err
	}
	return ask(ctx, "Password for "+l.user+": ")
}

// read takes no more than a secret can have, and one byte to see that it has more.
func (l *loginOptions) read(f *os.File) (string, error) {
	defer f.Close()
	out, err := io.ReadAll(io.LimitReader(f, int64(l.maxSecret()+3)))
	return string(out), err
}

// ask reads a line from the terminal, which does not show it. Standard input is the message.
func ask(ctx context.Context, prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("no terminal to ask at: give --password-file or another source")
	}
	defer tty.Close()
	fd := int(tty.Fd())
	before, err := term.MakeRaw(fd) // before the prompt: what is typed as soon as that is seen must not show
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, before)
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // it may outlive ask, as the process does not
		line, err := term.NewTerminal(tty, "").ReadPassword(prompt)
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		if a.err == io.EOF {
			a.err = errors.New("none was typed")
		}
		return a.line, a.err
	case <-ctx.Done():
		fmt.Fprint(tty, "\r\n")
		return "", context.Cause(ctx)
	}
}
