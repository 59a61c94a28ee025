package main

import (
	"context"
	"crypto/tls"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"pennypost/internal/cli"
	"pennypost/internal/sasl"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// loginOptions are the flags about logging in. At most one of the four sources of the secret is set.
type loginOptions struct {
	user, mechanisms     string
	file, command, netrc string // netrc "" = not given
	fd                   int    // -1 = not given
	clear, optional      bool
}

func (l *loginOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&l.user, "user", "", "log in as `NAME`")
	f.StringVar(&l.mechanisms, "auth", "", "log in by one of `MECHANISM,...` only, in this order")
	f.StringVar(&l.file, "password-file", "", "the password is the first line of `FILE`")
	f.StringVar(&l.command, "password-command", "", "the password is the first line `COMMAND` prints, run by /bin/sh")
	f.IntVar(&l.fd, "password-fd", -1, "the password is the first line of descriptor `N`")
	f.StringVar(&l.netrc, "netrc", "", "user and password stand in `FILE`, in the form of netrc")
	f.Lookup("netrc").NoOptDefVal = defaultNetrc
	f.BoolVar(&l.optional, "auth-optional", false, "go on without logging in where the server offers none of the mechanisms")
	f.BoolVar(&l.clear, "clear-auth", false, "send the password where TLS is not demanded, too")
}

// allMechanisms are the names that --auth may have.
func allMechanisms() []string {
	return append(sasl.ClientMechanisms(), "OAUTHBEARER", "XOAUTH2", "EXTERNAL")
}

// names are the mechanisms that may be used, in order.
func (l *loginOptions) names() []string {
	if l.mechanisms == "" {
		return sasl.ClientMechanisms()
	}
	return strings.Split(strings.ToUpper(l.mechanisms), ",")
}

// wanted says whether to log in at all.
func (l *loginOptions) wanted() bool { return l.user != "" || l.netrc != "" || l.mechanisms != "" }

// external says that no secret is needed: the client's certificate says who we are.
func (l *loginOptions) external() bool { return slices.Equal(l.names(), []string{"EXTERNAL"}) }

func (l *loginOptions) check(certificate bool) error {
	sources := 0
	for _, given := range []bool{l.file != "", l.command != "", l.fd >= 0, l.netrc != ""} {
		if given {
			sources++
		}
	}
	switch {
	case sources > 1:
		return cli.Usagef("--password-file, --password-command, --password-fd and --netrc do not go together")
	case l.fd >= 0 && l.fd <= 2:
		return cli.Usagef("--password-fd %d: want 3 or more, standard input is the message", l.fd)
	case (l.clear || l.optional) && !l.wanted(), sources > 0 && !l.wanted():
		return cli.Usagef("--password-file and the like, --clear-auth and --auth-optional need --user or --netrc")
	case l.wanted() && l.user == "" && l.netrc == "" && !l.external():
		return cli.Usagef("--auth needs --user or --netrc")
	case l.external() && sources > 0:
		return cli.Usagef("--auth external needs no password")
	}
	return l.checkNames(certificate)
}

func (l *loginOptions) checkNames(certificate bool) error {
	tokens := 0
	for _, name := range l.names() {
		if !slices.Contains(allMechanisms(), name) {
			return cli.Usagef("--auth %q: want some of %s", name, strings.Join(allMechanisms(), ","))
		}
		if name == "EXTERNAL" && !certificate {
			return cli.Usagef("--auth external needs --cert")
		}
		if sasl.Tokens(name) {
			tokens++
		}
	}
	if tokens > 0 && tokens < len(l.names()) {
		return cli.Usagef("--auth %s: a secret is a token or a password, not both", l.mechanisms)
	}
	return nil
}

// prepare gets the secret and makes the mechanisms. host is the server's name, for netrc.
func (l *loginOptions) prepare(ctx context.Context, host string, stderr io.Writer) ([]smtp.Mechanism, error) {
	var secret string
	if !l.external() {
		var err error
		if secret, err = l.secret(ctx, host, stderr); err != nil {
			return nil, err
		}
	}
	var all []smtp.Mechanism
	for _, name := range l.names() {
		all = append(all, smtp.Mechanism{Name: name, Clear: sasl.SendsSecret(name), New: l.responder(name, secret)})
	}
	return all, nil
}

func (l *loginOptions) responder(name, secret string) func(*tls.ConnectionState, []string) smtp.Responder {
	return func(state *tls.ConnectionState, offered []string) smtp.Responder {
		c, ok := sasl.Credentials{User: l.user, Secret: secret, TLS: state, Offered: offered}.Client(name)
		if !ok {
			return nil
		}
		return c
	}
}

// maxSecret is what is read of a password, in bytes; a token may be longer.
func (l *loginOptions) maxSecret() int {
	if sasl.Tokens(l.names()[0]) {
		return 8192
	}
	return 1024
}

// secret is the first line of its source.
func (l *loginOptions) secret(ctx context.Context, host string, stderr io.Writer) (string, error) {
	out, err := l.source(ctx, host, stderr)
	if err != nil {
		return "", status.Errorf(status.Config, "get the password: %w", err)
	}
	line, _, _ := strings.Cut(out, "\n")
	line = strings.TrimSuffix(line, "\r")
	if max := l.maxSecret(); line == "" || len(line) > max {
		return "", status.Errorf(status.Config, "get the password: the first line has %d bytes, want 1 to %d", len(line), max)
	}
	return line, nil
}
