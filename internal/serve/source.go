package serve

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"pennypost/internal/status"
)

// sources are the ends that sessions come from: listeners for many, conns for one each.
type sources struct {
	listeners []endpoint
	conns     []arrival
}

type endpoint struct {
	net.Listener
	name string
}

// arrival is a connection that somebody else accepted; environ may tell who the peer is.
type arrival struct {
	conn     net.Conn
	name     string
	environ  []string
	terminal bool
}

func (s *sources) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	for _, c := range s.conns {
		c.conn.Close()
	}
}

// gather opens what o and the environment name. What was opened is closed again if anything fails.
func gather(ctx context.Context, o Options) (sources, error) {
	var all sources
	err := all.passed(o)
	for _, addr := range o.Listen {
		if err != nil {
			break
		}
		var l net.Listener
		if l, err = Listen(ctx, addr); err == nil {
			all.listeners = append(all.listeners, endpoint{l, addr})
		}
	}
	if err == nil && len(all.listeners)+len(all.conns) == 0 {
		err = all.standard(o)
	}
	if err != nil {
		all.close()
	}
	return all, err
}

// passed takes the sockets of sd_listen_fds(3). Reading them marks them close-on-exec and removes the variables, so that
// no program that we run believes they are its own.
func (s *sources) passed(o Options) error {
	files := activation.Files(true)
	os.Unsetenv("LISTEN_PIDFDID")
	for i, f := range files {
		if err := s.add(f, descriptorName(f.Name()), o.Environ); err != nil {
			for _, rest := range files[i+1:] {
				rest.Close()
			}
			return err
		}
	}
	return nil
}

// add takes one passed socket, listening or connected, and closes f.
func (s *sources) add(f *os.File, name string, environ []string) error {
	defer f.Close()
	if !isListening(f) {
		c, err := streamConn(f)
		if err == nil {
			s.conns = append(s.conns, arrival{conn: c, name: name, environ: environ})
		}
		return err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return status.Errorf(status.OSErr, "take the listening socket %q: %w", f.Name(), err)
	}
	if name == "" {
		name = l.Addr().String()
	}
	s.listeners = append(s.listeners, endpoint{l, name})
	return nil
}

// descriptorName is the name from LISTEN_FDNAMES, or empty where there is none: systemd says "unknown", and the library
// makes one from the number.
func descriptorName(s string) string {
	if s == "unknown" || strings.HasPrefix(s, "LISTEN_FD_") {
		return ""
	}
	return status.Escape(s, 255)
}

// standard takes standard input and output: a listening socket (inetd "wait"), a connected one, or two plain files.
func (s *sources) standard(o Options) error {
	if isListening(o.Stdin) {
		l, err := net.FileListener(o.Stdin)
		if err != nil {
			return status.Errorf(status.OSErr, "take the listening socket on standard input: %w", err)
		}
		s.listeners = append(s.listeners, endpoint{l, l.Addr().String()})
		return nil
	}
	c, err := standardConn(o.Stdin, o.Stdout)
	if err != nil {
		return err
	}
	s.conns = append(s.conns, arrival{conn: c, environ: o.Environ, terminal: isTerminal(o.Stdin)})
	return nil
}

// Listen opens one address of the form HOST:PORT, :PORT or unix:/PATH, for something beside the sessions of Run. Errors are
// *status.Error: 64 for a bad address, 71 if the socket cannot be had.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	network, where := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if path == "" {
			return nil, status.Errorf(status.Usage, "listen on %q: no path after unix:", addr)
		}
		network, where = "unix", path
		if err := removeStale(ctx, path); err != nil {
			return nil, err
		}
	} else if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, status.Errorf(status.Usage, "listen on %q: not HOST:PORT, :PORT or unix:/PATH", addr)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, where)
	if err != nil {
		var op *net.OpError // its text repeats the address
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, status.Errorf(status.OSErr, "listen on %q: %w", addr, err)
	}
	return l, nil
}

// removeStale removes a socket file that a server left behind when it was killed. It stays if anything answers, if it is
// not a socket, or if the answer is unclear.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return nil // nothing there, or bind(2) will say what is wrong
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return status.Errorf(status.OSErr, "listen on %q: another server answers there", "unix:"+path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return status.Errorf(status.OSErr, "remove the stale socket %q: %w", path, err)
	}
	return nil
}
