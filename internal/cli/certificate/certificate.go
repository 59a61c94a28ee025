// Package certificate gives a server the flags that name its pair for TLS, and the TLS configuration that follows from them.
package certificate

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"pennypost/internal/cli"
	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// handshakeTime is how long a peer may take to start TLS.
const handshakeTime = time.Minute

// Options are the flags.
type Options struct {
	Cert, Key string // files; both or none
}

// Flags adds --cert and --key.
func Flags(cmd *cobra.Command) *Options {
	o := new(Options)
	f := cmd.Flags()
	f.StringVar(&o.Cert, "cert", "", "certificate chain for TLS in `FILE` (default the office's own pair)")
	f.StringVar(&o.Key, "key", "", "its private key in `FILE`")
	return o
}

// Check refuses one flag without the other.
func (o *Options) Check() error {
	if (o.Cert == "") != (o.Key == "") {
		return cli.Usagef("--cert and --key go together")
	}
	return nil
}

// Pair is how the pair is read: from the files that were named, or the office's own, made for host when there is none. It is
// nil when there is neither.
func (o *Options) Pair(off *postoffice.Office, host string) func() (tls.Certificate, error) {
	switch {
	case o.Cert != "":
		return func() (tls.Certificate, error) { return tls.LoadX509KeyPair(o.Cert, o.Key) }
	case off != nil:
		return func() (tls.Certificate, error) { return off.Certificate(host) }
	}
	return nil
}

// Config is the configuration for TLS, nil when there is no pair; alpn is the protocol's name (RFC 7301). Files that were named
// must be readable now. The pair is read again for each handshake: a renewed one is used without a restart, and a session
// without TLS costs nothing.
func (o *Options) Config(off *postoffice.Office, host, alpn string) (*tls.Config, error) {
	load := o.Pair(off, host)
	if load == nil {
		return nil, nil
	}
	if o.Cert != "" {
		if _, err := load(); err != nil {
			return nil, status.Errorf(status.Config, "read certificate %q and key %q: %w", o.Cert, o.Key, err)
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{alpn}, // who asks for another protocol is at the wrong port
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := load()
			if err != nil {
				return nil, fmt.Errorf("certificate: %w", err)
			}
			return &pair, nil
		},
	}, nil
}

// Handshake starts TLS on c as the server.
func Handshake(ctx context.Context, c net.Conn, config *tls.Config) (*tls.Conn, error) {
	t := tls.Server(c, config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, status.Errorf(status.Protocol, "TLS handshake: %w", err)
	}
	return t, nil
}
