// Package serve hides where connections come from: a listening address, sockets handed over by systemd, or the standard
// input and output that inetd, tcpserver, ssh or a pipe provide.
//
// It guarantees that a handler always gets one net.Conn with working deadlines and a description of its peer; that the
// accept loop never waits for a peer; that a PROXY header is read from named networks, required there, and never looked
// at elsewhere; that a panic in one session does not touch another; and that sessions may end in peace when the context
// is cancelled.
//
// Peer addresses follow tcp-environ(5), sd_listen_fds(3) and the PROXY protocol, versions 1 and 2.
package serve

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"pennypost/internal/envelope"
)

// Options say where connections come from and how many may be open. The zero value serves one session on standard input
// and output, or what systemd passed, without limits.
type Options struct {
	Listen         []string       // HOST:PORT, :PORT or unix:/PATH; may be several
	ProxyFrom      []netip.Prefix // peers that must start with a PROXY header; from others it is never read
	MaxConns       int            // sessions open at once, 0 = no limit
	MaxPerAddress  int            // sessions open at once from one address (IPv6: one /64), 0 = no limit
	MaxPerNetwork  int            // sessions open at once from one network (IPv4: a /24, IPv6: a /48), 0 = no limit
	RatePerAddress int            // connections in a minute from one address, 0 = no limit
	LimitDir       string         // directory in which all processes that use it count addresses together; empty = each for itself
	Drain          time.Duration  // how long sessions may go on after the context is cancelled
	Busy           []byte         // line for a connection that is refused because of a limit; may be empty
	Log            *slog.Logger   // nil = nothing is logged
	Counts         *Counts        // nil = nothing is counted

	Stdin, Stdout *os.File // nil = os.Stdin, os.Stdout
	Environ       []string // where the variables of tcp-environ(5) are; nil = os.Environ()

	// Confine, when not nil, is called once when all sockets are open and before the first connection is served, to give up
	// privileges. Its error ends Run.
	Confine func() error

	// Listening, when not nil, is called once with the addresses that are open, before the first connection is taken.
	Listening func([]net.Addr)
}

// Conn is a connection and what is known of it. Deadlines work on every kind; where the descriptor can never block, as
// with a plain file, they have no effect.
type Conn struct {
	net.Conn

	// Info describes both ends. The remote address is, in this order, what a PROXY header from a named network says,
	// TCPREMOTEIP, getpeername(2), REMOTE_ADDR, or empty. IPv4 addresses in IPv6 dress are undressed. RemoteHost is what
	// tcpserver found; it is a claim, unless tcpserver runs with -p. TLS is set if an outer program ended it (PROTO=SSL).
	Info envelope.Connection

	Name     string          // the descriptor's name from LISTEN_FDNAMES, or the listen address; empty on stdin
	Local    bool            // no peer address: a pipe, a terminal or a unix socket
	Stopping <-chan struct{} // closed when the server wants sessions to end soon; nil = never
}

// CloseWrite ends the sending half, so that the peer reads end of file, and leaves the receiving half open. It returns
// errors.ErrUnsupported where the connection cannot do that.
func (c *Conn) CloseWrite() error { return closeWrite(c.Conn) }

// Waiting says whether the peer has sent bytes that were not read yet, without waiting for any. It is false where nobody can say.
func (c *Conn) Waiting() bool { return waiting(c.Conn) }

func waiting(c net.Conn) bool {
	switch c := c.(type) {
	case buffered:
		return c.r.Buffered() > 0 || waiting(c.Conn)
	case *owner:
		return waiting(c.Conn)
	case syscall.Conn:
		return readable(c)
	}
	return false
}

// RemoteAddr is never nil, not even for a socket whose peer has closed it already; see Info for who the peer is.
func (c *Conn) RemoteAddr() net.Addr {
	if a := c.Conn.RemoteAddr(); a != nil {
		return a
	}
	return stdioAddr{}
}

// Run serves connections, each by one call of h in a goroutine of its own, and closes each when h returns.
//
// Connections come from o.Listen and from the sockets that systemd passed (LISTEN_FDS; listening ones and connected ones
// alike), or, if there are neither, from standard input and output, which is then the only session. The LISTEN_ and
// NOTIFY_SOCKET variables are removed from the process's environment.
//
// Run returns when the only session or all passed connections are done, or after ctx is cancelled: then it stops
// accepting, closes the Stopping channels, waits up to o.Drain, and cancels the context that handlers got and closes
// their connections. A session on a terminal gets no such time. Errors are *status.Error: 64 for a bad address, 71 if a
// socket cannot be had, 78 if the directory for limits cannot be used, 70 for a panic and 76 for a bad PROXY header in the only session.
func Run(ctx context.Context, o Options, h func(context.Context, *Conn)) error {
	o = o.withDefaults()
	notify := takeNotifySocket()
	ends, err := gather(ctx, o)
	if err != nil {
		return err
	}
	if o.Confine != nil {
		if err := o.Confine(); err != nil {
			ends.close()
			return err
		}
	}
	s := newServer(o, h)
	s.notify = notify
	if o.LimitDir != "" {
		if s.gate.shared, err = openShare(o.LimitDir); err != nil {
			ends.close()
			return err
		}
		defer s.gate.shared.close()
	}
	return s.run(ctx, ends)
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	return o
}
