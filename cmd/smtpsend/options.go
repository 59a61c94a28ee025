package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/smtp"
)

// newSender checks the flags against each other and makes of them what sending needs.
func newSender(ctx context.Context, cmd *cobra.Command, o options) (*sender, error) {
	s := &sender{command: o.pipe, stderr: cmd.ErrOrStderr()}
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
	if err := s.recordTo(o.record); err != nil {
		return nil, err
	}
	if o.pipe == "" && o.routes == "" && (o.server == "" || o.resolverSet) {
		r, err := o.resolver()
		if err != nil {
			return nil, err
		}
		s.resolver = r
	}
	host := ""
	if o.server != "" {
		if err := s.useServer(o); err != nil {
			return nil, err
		}
		host = s.endpoint.Host
	}
	if err := o.talk(ctx, s, host); err != nil {
		return nil, err
	}
	if err := s.route(o, cmd.InOrStdin()); err != nil {
		return nil, err
	}
	if o.via != "" {
		o.host = o.via
	}
	if o.host != "" && s.endpoint == nil && s.command == "" {
		s.router = toHost{s.router, o.host}
	}
	s.open(o.messages != "")
	return s, nil
}

// talk makes of the flags how the sender talks to servers.
func (o *options) talk(ctx context.Context, s *sender, host string) error {
	for _, apply := range []func() error{
		func() error { return o.tls.apply(&s.smtp, host) },
		func() error { return o.network.apply(&s.smtp) },
		func() error { return o.wire.apply(&s.smtp, s.stderr) },
		func() error { return o.debug.apply(&s.smtp) },
	} {
		if err := apply(); err != nil {
			return err
		}
	}
	if !o.login.wanted() || o.debug.dump {
		return nil
	}
	var err error
	s.smtp.Auth, err = o.login.prepare(ctx, host, s.stderr)
	s.smtp.ClearAuth, s.smtp.AuthIf = o.login.clear, o.login.optional
	return err
}

// done gives back what the sender holds open.
func (s *sender) done() {
	for _, f := range s.close {
		f()
	}
}

// check refuses flags that would have no effect.
func (o *options) check() error {
	switch {
	case o.server != "" && o.pipe != "":
		return cli.Usagef("--server and --pipe do not go together")
	case o.routes != "" && (o.server != "" || o.pipe != ""):
		return cli.Usagef("--routes goes neither with --server nor with --pipe")
	case o.routes == "-" && o.messages == "-":
		return cli.Usagef("--routes - and --messages - both read standard input: one must name a file")
	case o.routes == "-" && o.message == "" && o.messages == "":
		return cli.Usagef("--routes - reads standard input: name the message by --message FILE")
	case o.portSet && (o.server != "" || o.pipe != "" || o.routes != ""):
		return cli.Usagef("--port is for mail exchangers")
	case o.stsCache != "" && (o.server != "" || o.pipe != "" || o.routes != ""):
		return cli.Usagef("--sts-cache is for mail exchangers")
	case o.via != "" && (o.server != "" || o.pipe != ""):
		return cli.Usagef("--via goes neither with --server nor with --pipe")
	case o.port < 1 || o.port > 65535:
		return cli.Usagef("--port %d: want 1 to 65535", o.port)
	case o.timeout <= 0:
		return cli.Usagef("--timeout %v: want more than nothing", o.timeout)
	case o.helo != "" && !smtp.ValidName(o.helo):
		return cli.Usagef("--helo %q: want a domain name or an address literal", o.helo)
	case o.server == "" && o.tls.demanding():
		return cli.Usagef("--cacert, --no-verify, --pin, --sni and --tls-min need a --server")
	case o.server == "" && o.pipe == "" && o.login.wanted():
		return cli.Usagef("--user and --auth need a --server or --pipe")
	}
	if err := o.tls.check(); err != nil {
		return err
	}
	if err := o.test.check(o.message == testMessage); err != nil {
		return err
	}
	if err := o.checkMessages(); err != nil {
		return err
	}
	if o.reportForm != "" && !slices.Contains(reportForms, o.reportForm) {
		return cli.Usagef("--report %q: want lines, json or qmail", o.reportForm)
	}
	return o.login.check(o.tls.cert != "")
}

// useServer reads --server and what hangs on it. Trust in a certificate makes sense only where the URL demands TLS: anyone
// between could take the rest.
func (s *sender) useServer(o options) error {
	ep, err := smtp.ParseURL(o.server)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	s.endpoint = &ep
	s.smtp.LMTP, s.smtp.TLS = ep.LMTP, ep.TLS
	if o.tls.demanding() && ep.TLS != smtp.TLSRequired && ep.TLS != smtp.TLSImplicit {
		return cli.Usagef("--cacert, --no-verify, --pin, --sni and --tls-min need a server with smtp+tls:// or smtps://")
	}
	return nil
}
