package reading

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"time"

	"pennypost/internal/postoffice"
	"pennypost/internal/status"
)

// handshakeTime is how long a peer may take to start TLS.
const handshakeTime = time.Minute

// newTLS says where the certificate is: in cert and key, or the office's own pair; without either it is nil. It is read for
// each handshake, so that a renewed one is used at once and a session without TLS costs nothing.
func newTLS(alpn, cert, key string, o *postoffice.Office) (*tls.Config, error) {
	load := func() (tls.Certificate, error) { return tls.LoadX509KeyPair(cert, key) }
	switch {
	case cert != "":
		if _, err := load(); err != nil {
			return nil, status.Errorf(status.Config, "read certificate %q and key %q: %w", cert, key, err)
		}
	case o == nil:
		return nil, nil
	default:
		load = func() (tls.Certificate, error) {
			host, _ := os.Hostname()
			return o.Certificate(host)
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{alpn}, // who asks for another protocol is at the wrong port
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := load()
			return &pair, err
		},
	}, nil
}

// handshake starts TLS on c as the server.
func handshake(ctx context.Context, c net.Conn, config *tls.Config) (*tls.Conn, error) {
	t := tls.Server(c, config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, status.Errorf(status.Protocol, "TLS handshake: %w", err)
	}
	return t, nil
}
