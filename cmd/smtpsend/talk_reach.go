package main

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/cli/dnsflags"
	"pennypost/internal/smtp"
	"pennypost/internal/status"
)

// reach is how the commands for debugging by hand get to a server.
type reach struct {
	o      options
	sender *sender
}

// flags are those about the way to the server, TLS and logging in.
func (r *reach) flags(cmd *cobra.Command) {
	r.o = options{port: 25, timeout: time.Hour, wire: wireOptions{chunking: "auto"}}
	r.o.resolver = dnsflags.Flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.o.pipe, "pipe", "", "speak with `COMMAND`, run by /bin/sh, in the place of a URL")
	f.StringVar(&r.o.helo, "helo", "", "our `NAME` in EHLO (default the host's name, or its address)")
	f.DurationVar(&r.o.timeout, "timeout", time.Hour, "give up after `TIME` in all")
	r.o.tls.flags(f)
	r.o.network.flags(f)
	r.o.login.flags(f)
}

// target takes the URL, which --pipe stands for, and prepares for it.
func (r *reach) target(cmd *cobra.Command, args []string) (err error) {
	switch {
	case r.o.pipe == "" && len(args) != 1:
		return cli.Usagef("want one URL, or --pipe COMMAND")
	case r.o.pipe != "" && len(args) != 0:
		return cli.Usagef("--pipe stands in the place of a URL: %q is too much", args[0])
	case r.o.pipe == "":
		r.o.server = args[0]
	}
	r.o.note(cmd)
	r.sender, err = newSender(cmd.Context(), cmd, r.o)
	return err
}

// dial connects, writes the header of --proxy-protocol, and begins TLS where the URL says so.
func (r *reach) dial(ctx context.Context) (c net.Conn, err error) {
	if r.sender.endpoint == nil {
		return r.sender.dialPipe(ctx)
	}
	if c, err = r.sender.dialEndpoint(ctx, *r.sender.endpoint); err != nil {
		return nil, status.Errorf(status.TempFail, "%w", err).WithReply(451, "4.4.1")
	}
	if header := r.sender.smtp.Header; header != nil {
		b, err := header(c)
		if err == nil {
			_, err = c.Write(b)
		}
		if err != nil {
			c.Close()
			return nil, status.Errorf(status.TempFail, "write the header of the connection: %w", err)
		}
	}
	if !r.implicit() {
		return c, nil
	}
	encrypted, err := r.startTLS(ctx, c)
	if err != nil {
		c.Close()
	}
	return encrypted, err
}

func (r *reach) implicit() bool { return r.mode() == smtp.TLSImplicit }

// mode is what the URL demands.
func (r *reach) mode() smtp.TLSMode {
	if r.sender.endpoint == nil {
		return smtp.TLSOffered // TLS with a child is odd, and may be tried
	}
	return r.sender.endpoint.TLS
}

// startTLS does a handshake. As when mail is sent, a certificate is verified where the URL demands TLS.
func (r *reach) startTLS(ctx context.Context, c net.Conn) (net.Conn, error) {
	config := r.sender.smtp.TLSConfig.Clone()
	if m := r.mode(); m != smtp.TLSRequired && m != smtp.TLSImplicit {
		config.InsecureSkipVerify = true
		config.MinVersion = tls.VersionTLS10
	}
	encrypted := tls.Client(c, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return nil, status.Errorf(status.TempFail, "TLS handshake: %w", err).WithReply(451, "4.7.5")
	}
	return encrypted, nil
}

// private says whether a secret may be sent as it is, as when mail is sent.
func (r *reach) private(c net.Conn) bool {
	_, encrypted := c.(*tls.Conn)
	m := r.mode()
	return encrypted && (m == smtp.TLSRequired || m == smtp.TLSImplicit) || r.o.login.clear || smtp.Local(c.RemoteAddr())
}
