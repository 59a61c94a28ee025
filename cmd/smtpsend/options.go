package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/sasl"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// maxPassword is what is read of a password file or command, in bytes.
const maxPassword = 1024

// newSender checks the flags against each other and makes of them what sending needs.
func newSender(ctx context.Context, cmd *cobra.Command, o options) (*sender, error) {
	s := &sender{command: o.pipe, port: o.port, stderr: cmd.ErrOrStderr()}
	if err := o.check(); err != nil {
		return nil, err
	}
	s.smtp.Helo = o.helo
	if name, err := os.Hostname(); o.helo == "" && err == nil && strings.Contains(name, ".") {
		s.smtp.Helo = name
	}
	if o.verbose {
		s.smtp.Transcript = smtp.NewTranscript(s.stderr, smtp.ClientRole)
	}
	if o.pipe == "" && (o.server == "" || o.resolverSet) {
		r, err := o.resolver()
		if err != nil {
			return nil, err
		}
		s.resolver = r
	}
	if o.server != "" {
		if err := s.useServer(ctx, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// check refuses flags that would have no effect.
func (o *options) check() error {
	switch {
	case o.server != "" && o.pipe != "":
		return cli.Usagef("--server and --pipe do not go together")
	case o.portSet && (o.server != "" || o.pipe != ""):
		return cli.Usagef("--port is for mail exchangers")
	case o.port < 1 || o.port > 65535:
		return cli.Usagef("--port %d: want 1 to 65535", o.port)
	case o.timeout <= 0:
		return cli.Usagef("--timeout %v: want more than nothing", o.timeout)
	case o.helo != "" && !smtp.ValidName(o.helo):
		return cli.Usagef("--helo %q: want a domain name or an address literal", o.helo)
	case o.server == "" && (o.caFile != "" || o.noVerify || o.user != ""):
		return cli.Usagef("--cacert, --no-verify and --user need a --server")
	case o.passFile != "" && o.passCommand != "":
		return cli.Usagef("--password-file and --password-command do not go together")
	case (o.user == "") != (o.passFile == "" && o.passCommand == ""):
		return cli.Usagef("--user and --password-file or --password-command need each other")
	}
	return nil
}

// useServer reads --server and what hangs on it. A password, and trust in a certificate, make sense only where the URL
// demands TLS: anyone between could take the rest.
func (s *sender) useServer(ctx context.Context, o options) error {
	ep, err := smtp.ParseURL(o.server)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	s.endpoint = &ep
	s.smtp.LMTP, s.smtp.TLS = ep.LMTP, ep.TLS
	s.smtp.TLSConfig = &tls.Config{ServerName: ep.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.noVerify}
	if ep.TLS != smtp.TLSRequired && ep.TLS != smtp.TLSImplicit {
		if o.caFile != "" || o.noVerify || o.user != "" {
			return cli.Usagef("--cacert, --no-verify and --user need a server with smtp+tls:// or smtps://")
		}
		return nil
	}
	if o.caFile != "" {
		if s.smtp.TLSConfig.RootCAs, err = readRoots(o.caFile); err != nil {
			return err
		}
	}
	if o.user != "" {
		s.smtp.Auth, err = o.login(ctx, s)
	}
	return err
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, status.Errorf(status.Config, "%w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, status.Errorf(status.Config, "%s: no certificate in it", file)
	}
	return roots, nil
}

// login makes the mechanisms that know the password, best first.
func (o *options) login(ctx context.Context, s *sender) ([]smtp.Mechanism, error) {
	password, err := o.password(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []smtp.Mechanism
	for _, name := range sasl.Mechanisms() {
		all = append(all, smtp.Mechanism{Name: name, New: func() smtp.Responder {
			c, _ := sasl.NewClient(name, o.user, password) // the name is one of Mechanisms
			return c
		}})
	}
	return all, nil
}

func (o *options) password(ctx context.Context, s *sender) (string, error) {
	var out []byte
	var err error
	if o.passFile != "" {
		out, err = os.ReadFile(o.passFile)
	} else {
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", o.passCommand)
		cmd.Stderr = s.stderr
		out, err = cmd.Output()
	}
	if err != nil {
		return "", status.Errorf(status.Config, "get the password: %w", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || len(line) > maxPassword {
		return "", status.Errorf(status.Config, "get the password: the first line has %d bytes, want 1 to %d", len(line), maxPassword)
	}
	return line, nil
}
