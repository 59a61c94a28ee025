package serve

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"pennypost/internal/status"
)

// standardConn makes one connection of the two standard files. A network socket on in is used both ways, whatever out
// is: inetd, tcpserver and systemd hand it over as both, and a unit that forgot StandardOutput= would otherwise talk to
// the journal. Any other socket is used both ways if out is the same. The files belong to the connection afterwards.
func standardConn(in, out *os.File) (net.Conn, error) {
	inInfo, err := in.Stat()
	if err != nil {
		return nil, status.Errorf(status.NoInput, "use standard input: %w", err)
	}
	if inInfo.Mode()&fs.ModeSocket != 0 {
		c, err := streamConn(in)
		if err != nil {
			return nil, err
		}
		_, network := c.(*net.TCPConn)
		outInfo, err := out.Stat()
		if network || err == nil && os.SameFile(inInfo, outInfo) {
			silence(os.Stderr, inInfo)
			return &owner{Conn: c, files: []*os.File{in, out}}, nil
		}
		c.Close()
	}
	if _, err := out.Stat(); err != nil {
		return nil, status.Errorf(status.OSErr, "use standard output: %w", err)
	}
	return newStdio(in, out)
}

// streamConn is the connected socket f as a connection of its own; f stays open.
func streamConn(f *os.File) (net.Conn, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, status.Errorf(status.OSErr, "use the socket %q: %w", f.Name(), err)
	}
	switch socket := c.(type) {
	case *net.TCPConn:
		socket.SetKeepAlive(true) // as for those that we accept ourselves; best effort
		return c, nil
	case *net.UnixConn:
		if c.LocalAddr().Network() == "unix" {
			return c, nil
		}
	}
	c.Close()
	return nil, status.Errorf(status.OSErr, "use the socket %q: it is not a stream", f.Name())
}

// KeepStderrFromPeer points stderr to nowhere if it is the connection on stdin too, as inetd makes it. Run does so as well; a
// program that has something to say before calls this first.
func KeepStderrFromPeer() {
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&fs.ModeSocket != 0 {
		silence(os.Stderr, info)
	}
}

// silence points stderr to nowhere if it is the connection too, as inetd makes it: what we log is not for the peer.
func silence(stderr *os.File, conn os.FileInfo) {
	if info, err := stderr.Stat(); err != nil || !os.SameFile(info, conn) {
		return
	}
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		replace(stderr, null)
		null.Close()
	}
}

// owner closes, with the connection, the files it came from: the peer sees the end only when all are closed.
type owner struct {
	net.Conn
	files []*os.File
}

func (o *owner) CloseWrite() error { return closeWrite(o.Conn) }

func (o *owner) Close() error {
	err := o.Conn.Close()
	for _, f := range o.files {
		f.Close()
	}
	return err
}

// stdio is two files as a connection.
type stdio struct {
	r, w      *os.File // pollable if that is possible
	closeRead func() error
	closeOut  func() error
}

func newStdio(in, out *os.File) (net.Conn, error) {
	r, err := pollable(in, os.O_RDONLY)
	if err != nil {
		return nil, status.Errorf(status.OSErr, "use standard input: %w", err)
	}
	w, err := pollable(out, os.O_WRONLY)
	if err != nil {
		r.Close()
		return nil, status.Errorf(status.OSErr, "use standard output: %w", err)
	}
	c := &stdio{r: r, w: w}
	c.closeRead = sync.OnceValue(func() error { return closeAll(r, in) })
	c.closeOut = sync.OnceValue(func() error { return closeAll(w, out) })
	return c, nil
}

// closeAll closes f and, if it is another, the file that it was made from.
func closeAll(f, from *os.File) error {
	err := f.Close()
	if from != f {
		from.Close()
	}
	return err
}

func (c *stdio) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	return n, c.wrap("read", err)
}

func (c *stdio) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	return n, c.wrap("write", err)
}

func (c *stdio) CloseWrite() error { return c.closeOut() }

func (c *stdio) Close() error { return errors.Join(c.closeRead(), c.closeOut()) }

func (c *stdio) LocalAddr() net.Addr  { return stdioAddr{} }
func (c *stdio) RemoteAddr() net.Addr { return stdioAddr{} }

func (c *stdio) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *stdio) SetReadDeadline(t time.Time) error  { return blockless(c.r.SetReadDeadline(t)) }
func (c *stdio) SetWriteDeadline(t time.Time) error { return blockless(c.w.SetWriteDeadline(t)) }

// blockless forgives a file that cannot have deadlines: one that never blocks needs none.
func blockless(err error) error {
	if errors.Is(err, os.ErrNoDeadline) {
		return nil
	}
	return err
}

// wrap makes the errors of a file look like those of a socket, of type net.Error.
func (c *stdio) wrap(op string, err error) error {
	var pe *fs.PathError
	switch {
	case !errors.As(err, &pe):
		return err // nil and io.EOF
	case errors.Is(err, fs.ErrClosed):
		err = net.ErrClosed
	default:
		err = pe.Err
	}
	return &net.OpError{Op: op, Net: "stdio", Addr: stdioAddr{}, Err: err}
}

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "stdio" }

var noDeadline time.Time
