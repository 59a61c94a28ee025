package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pennypost/internal/envelope"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// speak is -bs: smtpd speaks SMTP with the caller, who is a user of this host and may send anywhere, and hands each message to
// this program.
func (s *settings) speak() error {
	if _, err := os.Stat(s.office); err != nil {
		return status.Errorf(status.Config, "-bs: the post office: %w", err)
	}
	smtpd, err := beside("smtpd")
	if err != nil {
		return err
	}
	self, err := calledAs()
	if err != nil {
		return err
	}
	w, err := s.writer("")
	if err != nil {
		return err
	}
	for _, name := range []string{"PROTO", "TCPREMOTEIP"} { // our caller is on standard input, whoever called him
		os.Unsetenv(name)
	}
	args := []string{"smtpd", "--office", s.office, "--name", w.host, "--relay-local", "--", self}
	return status.Errorf(status.Unavailable, "run %s: %w", smtpd, syscall.Exec(smtpd, args, os.Environ()))
}

// flush is -q: this process becomes smtpsend, which runs the queue once, under the names that letters from here have.
func (s *settings) flush(what []string) error {
	self, err := os.Executable()
	if err != nil {
		return status.Errorf(status.OSErr, "find this program: %w", err)
	}
	w, err := s.writer("")
	if err != nil {
		return err
	}
	args := slices.Concat([]string{"smtpsend", "--queue", s.queue, "run", "--name", w.host, "--postmaster", "postmaster@" + w.domain},
		strings.Fields(os.Getenv("MAIL_RUN")), what)
	return status.Errorf(status.Unavailable, "run %s: %w", self, syscall.Exec(self, args, os.Environ()))
}

// beside finds a program in the directory of this one, or else in PATH.
func beside(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", status.Errorf(status.Config, "%w", err)
	}
	return path, nil
}

// calledAs is the path by which this program is sendmail.
func calledAs() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", status.Errorf(status.Config, "find this program: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", status.Errorf(status.OSErr, "find this program: %w", err)
	}
	return path, nil
}

// verify is -bv: where mail for each address goes. The error is that of the first that goes nowhere.
func (s *settings) verify(out io.Writer, o *sendmailOptions) error {
	w, err := s.writer("")
	if err != nil {
		return err
	}
	list, err := addresses(o.recipients)
	if err != nil {
		return err
	}
	office, err := postoffice.Open(s.office)
	if err == nil {
		defer office.Close()
	}
	var first error
	for _, a := range w.completed(list) {
		where, err := whereTo(office, a)
		if err != nil {
			where = status.Of(err).Line()
			if first == nil {
				first = err
			}
		}
		fmt.Fprintf(out, "%s: %s\n", status.Escape(a.String(), maxAddress), where)
	}
	return first
}

// whereTo says who gets mail for an address. office may be nil.
func whereTo(office *postoffice.Office, a envelope.Address) (string, error) {
	if office != nil {
		box, err := office.Lookup(a)
		if err == nil {
			defer box.Close()
			return "mailbox " + box.Address.String(), nil
		}
		if !errors.Is(err, postoffice.ErrNotLocal) {
			return "", err
		}
	}
	return "to the mail exchangers of " + a.Domain, nil
}
